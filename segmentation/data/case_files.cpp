// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/case_files.h"

#include <algorithm>
#include <optional>

#include "tensor/error.h"

namespace metvox {
namespace {

const std::vector<std::vector<std::string>> kSynonyms{
    {"t1c", "t1ce", "t1gd"}, {"t1n", "t1"}, {"t2w", "t2"}, {"t2f", "flair"}};
const std::vector<std::string> kEndings{".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img"};

// Length of the image ending of a name; 0 when it has none.
size_t ending_length(const std::string& name) {
  const std::string small = lower(name);
  for (const std::string& ending : kEndings)
    if (small.ends_with(ending) && small.size() > ending.size()) return ending.size();
  return 0;
}

// All that has the name of an image counts as one, also an empty folder in a case's and a link that leads nowhere:
// whoever reads it says what it is.
void add_images(const Path& dir, const std::string& folder, std::vector<ImageFile>& out) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (name.front() == '.' || (folder.empty() && entry.is_directory())) continue;
    if (const size_t ending = ending_length(name))
      out.push_back({entry.path(), name.substr(0, name.size() - ending), folder});
  }
}

bool is_part(const ImageFile& file, const char* ending) {
  return lower(file.path.filename().string()).substr(file.stem.size()).starts_with(ending);
}

// Channel index of CASE_0003; nothing when the name does not end so.
std::optional<size_t> channel_index(const std::string& stem) {
  if (stem.size() < 6 || stem[stem.size() - 5] != '_') return {};
  const std::string digits = stem.substr(stem.size() - 4);
  if (!std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); })) return {};
  return std::stoul(digits);
}

// Case of a file named after a known sequence; empty when it is not.
std::string case_of_sequence(const ImageFile& file) {
  for (const auto& names : kSynonyms)
    for (const std::string& name : names)
      if (const std::string id = case_of(file, name); !id.empty()) return id;
  return "";
}

}  // namespace

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

std::vector<ImageFile> image_files(const Path& dir) {
  require_folder(dir);
  std::vector<ImageFile> files;
  add_images(dir, "", files);
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || name.front() == '.') continue;
    const size_t before = files.size();
    add_images(entry.path(), name, files);
    if (files.size() == before && ending_length(name) > 0) files.push_back({image_file(entry.path())});
  }
  std::sort(files.begin(), files.end(), [](const ImageFile& a, const ImageFile& b) { return a.path < b.path; });
  std::erase_if(files, [&](const ImageFile& image) {
    return is_part(image, ".img") && std::any_of(files.begin(), files.end(), [&](const ImageFile& header) {
             return header.stem == image.stem && is_part(header, ".hdr") &&
                    header.path.parent_path() == image.path.parent_path();
           });
  });
  return files;
}

ImageFile image_file(const Path& path) {
  const std::string name = path.filename().string();
  return {path, name.substr(0, name.size() - ending_length(name)), ""};
}

std::string group_of(const ImageFile& file) {
  if (channel_index(file.stem)) return file.stem.substr(0, file.stem.size() - 5);
  if (const std::string id = case_of(file, "seg"); !id.empty()) return id;
  const std::string id = case_of_sequence(file);
  return id.empty() ? file.stem : id;
}

std::vector<std::string> sequence_names(const std::string& channel_name) {
  const std::string name = lower(channel_name);
  for (const auto& names : kSynonyms)
    if (std::find(names.begin(), names.end(), name) != names.end()) return names;
  return {name};
}

std::string sequence_key(const std::string& name) { return sequence_names(name).front(); }

std::string channel_suffix(size_t channel) {
  const std::string digits = std::to_string(channel);
  return "_" + std::string(4 - std::min<size_t>(4, digits.size()), '0') + digits;
}

std::string case_of(const ImageFile& file, const std::string& name) {
  const std::string stem = lower(file.stem);
  if (name.empty() || !stem.ends_with(name)) return "";
  if (stem.size() == name.size()) return file.folder;
  const char before = stem[stem.size() - name.size() - 1];
  return before == '-' || before == '_' ? file.stem.substr(0, stem.size() - name.size() - 1) : "";
}

std::map<std::string, FoundCase> find_cases(const std::vector<ImageFile>& files,
                                            const std::vector<std::string>& channel_names) {
  std::map<std::string, int> uses;  // a name that two channels share tells neither
  for (const std::string& name : channel_names) ++uses[sequence_key(name)];
  std::map<std::string, FoundCase> cases;
  const auto found = [&](const std::string& id) -> FoundCase& {
    FoundCase& c = cases[id];
    c.images.resize(channel_names.size());
    return c;
  };
  for (const ImageFile& file : files) {
    if (const auto index = channel_index(file.stem)) {
      FoundCase& c = found(file.stem.substr(0, file.stem.size() - 5));
      (*index < channel_names.size() ? c.images[*index] : c.beyond).push_back(file.path);
      continue;
    }
    for (size_t k = 0; k < channel_names.size(); ++k) {
      if (uses[sequence_key(channel_names[k])] > 1) continue;
      for (const std::string& name : sequence_names(channel_names[k]))
        if (const std::string id = case_of(file, name); !id.empty()) found(id).images[k].push_back(file.path);
    }
  }
  return cases;
}

std::map<std::string, std::vector<Path>> find_label_files(const std::vector<ImageFile>& files) {
  std::map<std::string, std::vector<Path>> marked, plain;
  bool sequences = false;
  for (const ImageFile& file : files) {
    if (const std::string id = case_of(file, "seg"); !id.empty()) marked[id].push_back(file.path);
    else if (!case_of_sequence(file).empty()) sequences = true;
    else plain[file.stem].push_back(file.path);
  }
  for (const auto& [stem, paths] : plain)
    if (channel_index(stem) && marked.contains(stem.substr(0, stem.size() - 5))) sequences = true;
  if (sequences && !marked.empty()) return marked;
  for (auto& [id, paths] : plain) marked[id].insert(marked[id].end(), paths.begin(), paths.end());
  return marked;
}

}  // namespace metvox
