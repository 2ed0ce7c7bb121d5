// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/dataset.h"

#include <algorithm>
#include <set>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/case_files.h"

namespace metvox {
namespace {

std::string list(const std::vector<Path>& paths) {
  std::string out;
  for (const Path& p : paths) out += (out.empty() ? "" : ", ") + p.string();
  return out;
}

// Names that a channel's file could have had.
std::string tried(const std::string& id, size_t channel, const std::string& channel_name) {
  std::string out = id + channel_suffix(channel);
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

FoundInputs cases_in(const std::vector<ImageFile>& files, const Path& dir,
                     const std::vector<std::string>& channel_names, std::vector<std::string>* faults) {
  FoundInputs out;
  for (const auto& [id, found] : find_cases(files, channel_names)) {
    CaseFiles c{id, {}, {}};
    for (const auto& paths : found.images) c.images.insert(c.images.end(), paths.begin(), paths.end());
    const std::string fault = fault_of(id, found, channel_names, dir);
    if (!fault.empty() && faults) faults->push_back(fault + grids_besides(found));
    (fault.empty() ? out.complete : out.incomplete).push_back(std::move(c));
  }
  return out;
}

[[noreturn]] void fail_no_case(const Path& dir, const std::vector<std::string>& channel_names,
                               const std::vector<std::string>& faults) {
  if (!faults.empty())
    fail(Fault::input, dir.string(), ": no complete case; the first of ",
         counted(static_cast<int64_t>(faults.size()), "fault"), ": ", faults.front());
  std::string names;
  for (size_t k = 0; k < channel_names.size(); ++k)
    names += (k ? "; " : "") + channel_names[k] + ": " + tried("CASE", k, channel_names[k]);
  fail(Fault::input, dir.string(), ": no case found, flat or in folders; looked for ", names);
}

// Gives every case its label; cases and labels without each other are faults.
void attach_labels(RawDataset& dataset, const std::map<std::string, std::vector<Path>>& labels, const Path& dir,
                   std::vector<std::string>* faults) {
  const auto report = [&](const std::string& fault) {
    if (faults) faults->push_back(fault);
  };
  std::set<std::string> ids;
  std::vector<CaseFiles> kept;
  for (CaseFiles& c : dataset.incomplete) {
    ids.insert(c.id);
    if (const auto found = labels.find(c.id); found != labels.end()) c.label = found->second.front();
  }
  for (CaseFiles& c : dataset.training) {
    ids.insert(c.id);
    const auto found = labels.find(c.id);
    if (found == labels.end()) {
      report(sentence("case ", c.id, ": the label is missing in ", dir.string(), "; tried ", c.id, " and ", c.id,
                      "-seg (.nii.gz, .nii, .hdr)"));
      dataset.incomplete.push_back(std::move(c));
    } else if (found->second.size() > 1) {
      report(sentence("case ", c.id, ": the label is there more than once: ", list(found->second), "; keep one"));
      dataset.incomplete.push_back(std::move(c));
    } else {
      c.label = found->second.front();
      kept.push_back(std::move(c));
    }
  }
  for (const auto& [id, paths] : labels)
    if (!ids.contains(id))
      report(sentence("case ", id, ": there is a label, ", list(paths),
                      ", but no image; add its sequences or take it away"));
  dataset.training = std::move(kept);
}

// dataset.json may list its files itself, relative to its folder.
void add_listed_cases(RawDataset& dataset, const Path& dir, std::vector<std::string>* faults) {
  const DatasetDescription& d = dataset.description;
  const Path where = dir / "dataset.json";
  const Json table = get<Json>(d.json, "dataset", where);
  for (const auto& [id, entry] : table.items()) {
    CaseFiles c{id, {}, dir / get<std::string>(entry, "label", where)};
    for (const auto& image : get<std::vector<std::string>>(entry, "images", where)) c.images.push_back(dir / image);
    const auto gone = [](const Path& p) { return !std::filesystem::exists(p); };
    std::vector<Path> missing;
    std::copy_if(c.images.begin(), c.images.end(), std::back_inserter(missing), gone);
    if (gone(c.label)) missing.push_back(c.label);
    if (missing.empty() && c.images.size() == d.channel_names.size()) {
      dataset.training.push_back(std::move(c));
      continue;
    }
    if (faults)
      faults->push_back(missing.empty()
                            ? sentence("case ", id, ": dataset.json lists ", c.images.size(), " images for ",
                                       d.channel_names.size(), " channels")
                            : sentence("case ", id, ": dataset.json lists ", list(missing), ", which is not there"));
    std::erase_if(c.images, gone);
    if (gone(c.label)) c.label.clear();
    dataset.incomplete.push_back(std::move(c));
  }
  std::sort(dataset.training.begin(), dataset.training.end(),
            [](const CaseFiles& a, const CaseFiles& b) { return a.id < b.id; });
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

RawDataset look_through_dataset(const Path& dir, std::vector<std::string>* faults) {
  require_folder(dir);
  RawDataset out;
  const Path description = dir / "dataset.json", images = dir / "imagesTr", labels = dir / "labelsTr";
  const bool nnunet = std::filesystem::exists(description);
  if (!nnunet && std::filesystem::exists(images))
    fail(Fault::input, dir.string(), ": dataset.json is missing beside imagesTr");
  if (nnunet) out.description = read_description(description);
  else out.description = brats_description(std::filesystem::absolute(dir / ".").parent_path().filename().string());
  const auto& channels = out.description.channel_names;
  std::vector<std::string> found;
  if (nnunet && out.description.json.contains("dataset")) {
    add_listed_cases(out, dir, &found);
  } else {
    const Path image_dir = nnunet ? images : dir;
    const std::vector<ImageFile> files = image_files(image_dir);
    FoundInputs cases = cases_in(files, image_dir, channels, &found);
    out.training = std::move(cases.complete);
    out.incomplete = std::move(cases.incomplete);
    attach_labels(out, find_label_files(nnunet ? image_files(labels) : files), nnunet ? labels : dir, &found);
  }
  if (faults) faults->insert(faults->end(), found.begin(), found.end());
  if (out.training.empty() && out.incomplete.empty()) fail_no_case(nnunet ? images : dir, channels, found);
  if (!nnunet)
    out.description.json["numTraining"] = out.description.num_training = static_cast<int64_t>(out.training.size());
  return out;
}

RawDataset open_raw_dataset(const Path& dir, std::vector<std::string>* faults) {
  std::vector<std::string> found;
  RawDataset out = look_through_dataset(dir, &found);
  if (faults) faults->insert(faults->end(), found.begin(), found.end());
  if (out.training.empty()) fail_no_case(dir, out.description.channel_names, found);
  return out;
}

FoundInputs look_through_inputs(const Path& dir, const std::vector<std::string>& channel_names,
                                std::vector<std::string>* faults) {
  return cases_in(image_files(dir), dir, channel_names, faults);
}

std::vector<CaseFiles> find_inputs(const Path& dir, const std::vector<std::string>& channel_names,
                                   std::vector<std::string>* faults) {
  std::vector<std::string> found;
  FoundInputs cases = look_through_inputs(dir, channel_names, &found);
  if (faults) faults->insert(faults->end(), found.begin(), found.end());
  if (cases.complete.empty()) fail_no_case(dir, channel_names, found);
  return cases.complete;
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
