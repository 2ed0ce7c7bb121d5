// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/dataset.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

std::string list(const std::vector<Path>& paths) {
  std::string out;
  for (const Path& p : paths) out += (out.empty() ? "" : ", ") + p.string();
  return out;
}

// Names that a channel's file could have had.
std::string tried(const std::string& id, size_t channel, const std::string& channel_name) {
  std::string digits = std::to_string(channel);
  std::string out = id + "_" + std::string(4 - std::min<size_t>(4, digits.size()), '0') + digits;
  for (const std::string& name : sequence_names(channel_name)) out += ", " + id + "-" + name;
  return out + " (.nii.gz, .nii, .hdr)";
}

// What keeps a case from being used, or nothing.
std::string fault_of(const std::string& id, const FoundCase& found, const std::vector<std::string>& channel_names,
                     const Path& dir) {
  for (size_t k = 0; k < channel_names.size(); ++k) {
    const std::string who = sentence("case ", id, ": sequence ", channel_names[k], " (channel ", k, ")");
    if (found.images[k].empty())
      return sentence(who, " is missing in ", dir.string(), "; tried ", tried(id, k, channel_names[k]));
    if (found.images[k].size() > 1)
      return sentence(who, " is there more than once: ", list(found.images[k]), "; keep one");
  }
  if (!found.beyond.empty())
    return sentence("case ", id, ": ", list(found.beyond), " is a channel beyond the ", channel_names.size(),
                    " expected; take it away");
  return "";
}

// For a case that lacks a sequence: those that are there may lie on different grids too, which is better said at once.
// Only headers are read; a header that cannot be read is its own fault elsewhere.
std::string grids_besides(const FoundCase& found) {
  std::vector<Geometry> grids;
  std::string text;
  for (const auto& paths : found.images) {
    if (paths.empty()) continue;
    try {
      grids.push_back(read_nifti_header(paths.front()).geometry);
    } catch (const Error&) {
      continue;
    }
    text += "\n  " + paths.front().string() + ": " + describe(grids.back());
  }
  const bool same =
      std::all_of(grids.begin(), grids.end(), [&](const Geometry& g) { return same_grid(g, grids.front()); });
  return same ? "" : "; and those that are there lie on different grids:" + text;
}

std::vector<CaseFiles> complete_cases(const std::vector<ImageFile>& files, const Path& dir,
                                      const std::vector<std::string>& channel_names, std::vector<std::string>* faults) {
  std::vector<CaseFiles> out;
  for (const auto& [id, found] : find_cases(files, channel_names)) {
    if (const std::string fault = fault_of(id, found, channel_names, dir); !fault.empty()) {
      if (faults) faults->push_back(fault + grids_besides(found));
      continue;
    }
    out.push_back({id, {}, {}});
    for (const auto& paths : found.images) out.back().images.push_back(paths.front());
  }
  return out;
}

[[noreturn]] void fail_no_case(const Path& dir, const std::vector<std::string>& channel_names,
                               const std::vector<std::string>& faults) {
  if (!faults.empty())
    fail(Fault::input, dir.string(), ": no complete case; the first fault of ", faults.size(), ": ", faults.front());
  std::string names;
  for (size_t k = 0; k < channel_names.size(); ++k)
    names += (k ? "; " : "") + channel_names[k] + ": " + tried("CASE", k, channel_names[k]);
  fail(Fault::input, dir.string(), ": no case found, flat or in folders; looked for ", names);
}

// Gives every case its label; cases and labels without each other are faults.
void attach_labels(std::vector<CaseFiles>& cases, const std::map<std::string, std::vector<Path>>& labels,
                   const Path& dir, const std::vector<std::string>& faulty, std::vector<std::string>* faults) {
  const auto report = [&](const std::string& fault) {
    if (faults) faults->push_back(fault);
  };
  std::set<std::string> ids;
  std::vector<CaseFiles> kept;
  for (CaseFiles& c : cases) {
    ids.insert(c.id);
    const auto found = labels.find(c.id);
    if (found == labels.end()) {
      report(sentence("case ", c.id, ": the label is missing in ", dir.string(), "; tried ", c.id, " and ", c.id,
                      "-seg (.nii.gz, .nii, .hdr)"));
    } else if (found->second.size() > 1) {
      report(sentence("case ", c.id, ": the label is there more than once: ", list(found->second), "; keep one"));
    } else {
      c.label = found->second.front();
      kept.push_back(std::move(c));
    }
  }
  for (const auto& [id, paths] : labels) {
    const auto names_it = [&](const std::string& f) { return f.starts_with("case " + id + ":"); };
    if (!ids.contains(id) && std::none_of(faulty.begin(), faulty.end(), names_it))
      report(sentence("case ", id, ": there is a label, ", list(paths), ", but no image"));
  }
  cases = std::move(kept);
}

// dataset.json may list its files itself, relative to its folder.
std::vector<CaseFiles> listed_cases(const DatasetDescription& d, const Path& dir, std::vector<std::string>* faults) {
  std::vector<CaseFiles> out;
  const Path where = dir / "dataset.json";
  const Json table = get<Json>(d.json, "dataset", where);
  for (const auto& [id, entry] : table.items()) {
    CaseFiles c{id, {}, dir / get<std::string>(entry, "label", where)};
    for (const auto& image : get<std::vector<std::string>>(entry, "images", where)) c.images.push_back(dir / image);
    std::vector<Path> all = c.images, missing;
    all.push_back(c.label);
    std::copy_if(all.begin(), all.end(), std::back_inserter(missing),
                 [](const Path& p) { return !std::filesystem::exists(p); });
    if (missing.empty() && c.images.size() == d.channel_names.size()) out.push_back(std::move(c));
    else if (faults)
      faults->push_back(missing.empty()
                            ? sentence("case ", id, ": dataset.json lists ", c.images.size(), " images for ",
                                       d.channel_names.size(), " channels")
                            : sentence("case ", id, ": dataset.json lists ", list(missing), ", which is not there"));
  }
  std::sort(out.begin(), out.end(), [](const CaseFiles& a, const CaseFiles& b) { return a.id < b.id; });
  return out;
}

}  // namespace

DatasetDescription brats_description(const std::string& name) {
  DatasetDescription d;
  d.name = name;
  d.channel_names = {"T1C", "T1N", "T2F", "T2W"};
  d.json["channel_names"] = {{"0", "T1C"}, {"1", "T1N"}, {"2", "T2F"}, {"3", "T2W"}};
  d.json["labels"] = {{"background", 0}, {"WT", {1, 2, 3}}, {"TC", {1, 3}}, {"ET", 3}};
  d.json["regions_class_order"] = {2, 1, 3};
  d.json["numTraining"] = 0;
  d.json["file_ending"] = d.file_ending;
  d.labels = Labels::from_json(d.json, name);
  return d;
}

DatasetDescription read_description(const Path& path) {
  DatasetDescription d = description_from_json(read_json(path), path);
  d.name = std::filesystem::absolute(path).parent_path().filename().string();
  return d;
}

DatasetDescription description_from_json(const Json& json, const Path& path) {
  DatasetDescription d;
  d.json = json;
  const bool old = d.json.contains("modality") && !d.json.contains("channel_names");
  const Json channels = get<Json>(d.json, old ? "modality" : "channel_names", path);
  for (size_t k = 0; k < channels.size(); ++k)
    d.channel_names.push_back(get<std::string>(channels, std::to_string(k), path));
  if (d.channel_names.empty()) fail(Fault::input, path.string(), ": channel_names is empty");
  d.labels = Labels::from_json(d.json, path);
  d.num_training = get<int64_t>(d.json, "numTraining", path);
  d.file_ending = get<std::string>(d.json, "file_ending", path);
  if (d.file_ending != ".nii.gz" && d.file_ending != ".nii" && d.file_ending != ".hdr")
    fail(Fault::input, path.string(), ": file_ending is ", d.file_ending, "; images are NIfTI (.nii.gz, .nii or .hdr)");
  return d;
}

RawDataset open_raw_dataset(const Path& dir, std::vector<std::string>* faults) {
  require_folder(dir);
  RawDataset out;
  std::vector<std::string> found;
  const Path description = dir / "dataset.json", images = dir / "imagesTr", labels = dir / "labelsTr";
  const bool nnunet = std::filesystem::exists(description);
  if (!nnunet && std::filesystem::exists(images))
    fail(Fault::input, dir.string(), ": dataset.json is missing beside imagesTr");
  if (nnunet) out.description = read_description(description);
  else out.description = brats_description(std::filesystem::absolute(dir / ".").parent_path().filename().string());
  const auto& channels = out.description.channel_names;
  if (nnunet && out.description.json.contains("dataset")) {
    out.training = listed_cases(out.description, dir, &found);
  } else {
    const Path image_dir = nnunet ? images : dir;
    const std::vector<ImageFile> files = image_files(image_dir);
    out.training = complete_cases(files, image_dir, channels, &found);
    const std::vector<std::string> faulty = found;
    attach_labels(out.training, find_label_files(nnunet ? image_files(labels) : files), nnunet ? labels : dir, faulty,
                  &found);
  }
  if (faults) faults->insert(faults->end(), found.begin(), found.end());
  if (out.training.empty()) fail_no_case(nnunet ? images : dir, channels, found);
  if (!nnunet)
    out.description.json["numTraining"] = out.description.num_training = static_cast<int64_t>(out.training.size());
  return out;
}

std::vector<CaseFiles> find_inputs(const Path& dir, const std::vector<std::string>& channel_names,
                                   std::vector<std::string>* faults) {
  std::vector<std::string> found;
  const auto cases = complete_cases(image_files(dir), dir, channel_names, &found);
  if (faults) faults->insert(faults->end(), found.begin(), found.end());
  if (cases.empty()) fail_no_case(dir, channel_names, found);
  return cases;
}

std::vector<std::pair<std::string, Path>> find_labels(const Path& dir) {
  std::vector<std::pair<std::string, Path>> out;
  for (const auto& [id, paths] : find_label_files(image_files(dir))) {
    if (paths.size() > 1)
      fail(Fault::input, "case ", id, ": the label is there more than once: ", list(paths), "; keep one");
    out.emplace_back(id, paths.front());
  }
  return out;
}

CaseImages read_case(const CaseFiles& files) {
  check(!files.images.empty(), "read_case: case ", files.id, " has no images");
  const size_t channels = files.images.size();
  std::vector<Volume> volumes(channels);
  parallel_for(static_cast<int64_t>(channels), 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c)
      volumes[static_cast<size_t>(c)] = read_nifti(files.images[static_cast<size_t>(c)]);
  });
  return join_sequences(files.id, files.images, std::move(volumes));
}

CaseImages join_sequences(const std::string& id, const std::vector<Path>& paths, std::vector<Volume> volumes) {
  const size_t channels = volumes.size();
  CaseImages out;
  out.geometry = volumes[0].geometry;
  const Shape& grid = volumes[0].voxels.shape();
  out.data = Tensor::empty({static_cast<int64_t>(channels), grid[0], grid[1], grid[2]}, DType::f32);
  for (size_t c = 0; c < channels; ++c) {
    const Tensor voxels = onto_lattice(volumes[c], out.geometry);
    if (!voxels) {
      std::string grids;
      for (size_t k = 0; k < channels; ++k) grids += "\n  " + paths[k].string() + ": " + describe(volumes[k].geometry);
      fail(Fault::input, "case ", id,
           ": the sequences lie on different grids; register and resample them to one:", grids);
    }
    if (voxels.data<float>() != volumes[c].voxels.data<float>())
      out.warnings.push_back(sentence(paths[c].string(), ": its axes, ", volumes[c].geometry.axes(), ", are turned to ",
                                      out.geometry.axes(), " as in ", paths[0].string()));
    for (const std::string& w : volumes[c].warnings) out.warnings.push_back(paths[c].string() + ": " + w);
    std::memcpy(out.data.slice(static_cast<int64_t>(c), 1).data<float>(), voxels.data<float>(), voxels.bytes());
    if (c > 0) volumes[c].voxels = {};
  }
  return out;
}

Tensor read_case_labels(const CaseFiles& files, const Geometry& grid, const Labels& labels) {
  const Volume v = read_nifti_labels(files.label);
  const Tensor out = onto_lattice(v, grid);
  if (!out)
    fail(Fault::input, "case ", files.id, ": the label lies on another grid than the images:\n  ", files.label.string(),
         ": ", describe(v.geometry), "\n  images: ", describe(grid));
  require_known_labels(out, labels, files.id, files.label);
  return out;
}

void require_known_labels(const Tensor& voxels, const Labels& labels, const std::string& id, const Path& path) {
  std::array<int64_t, 256> count{};
  const uint8_t* x = voxels.data<uint8_t>();
  for (int64_t i = 0; i < voxels.size(); ++i) ++count[x[i]];
  std::set<int> known;
  for (const LabelTarget& t : labels.entries) known.insert(t.labels.begin(), t.labels.end());
  std::string unknown, names;
  for (int value = 0; value < 256; ++value)
    if (const int64_t n = count[static_cast<size_t>(value)]; n > 0 && !known.contains(value))
      unknown += sentence(unknown.empty() ? "" : ", ", value, " (", n, " voxels)");
  if (unknown.empty()) return;
  for (int value : known) names += sentence(names.empty() ? "" : ", ", value);
  fail(Fault::input, "case ", id, ": ", path.string(), " holds labels that the data set does not define: ", unknown,
       "; it defines ", names, "; name them in dataset.json or take them out");
}

std::string patient_of(const std::string& case_id) {
  const auto digits = [&](size_t first, size_t n) {
    return std::all_of(case_id.begin() + static_cast<long>(first), case_id.begin() + static_cast<long>(first + n),
                       [](unsigned char c) { return std::isdigit(c); });
  };
  constexpr size_t kTail = 10;  // -00012-003
  const size_t n = case_id.size();
  const bool brats = n > kTail && lower(case_id).starts_with("brats-") && case_id[n - 10] == '-' &&
                     case_id[n - 4] == '-' && digits(n - 9, 5) && digits(n - 3, 3);
  return brats ? case_id.substr(0, n - 4) : case_id;
}

}  // namespace metvox
