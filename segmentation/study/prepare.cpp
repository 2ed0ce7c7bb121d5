// SPDX-License-Identifier: Apache-2.0
// The study's folder before its first job.
#include <algorithm>
#include <map>
#include <set>

#include "segmentation/data/case_files.h"
#include "segmentation/study/jobs.h"
#include "segmentation/study/lock.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

using Links = std::map<Path, Path>;  // where in the set's folder, and to what

// NAME.nii.gz, or the two files of NAME.hdr, in the folder.
void link_image(Links& links, const Path& image, const Path& folder, const std::string& name) {
  const std::string ending = image.extension().string();
  if (ending == ".gz") {
    links[folder / (name + image.stem().extension().string() + ending)] = image;
    return;
  }
  links[folder / (name + ending)] = image;
  if (ending == ".hdr") links[folder / (name + ".img")] = Path(image).replace_extension(".img");
}

void link_case(Links& links, const CaseFiles& c) {
  for (size_t s = 0; s < c.images.size(); ++s) link_image(links, c.images[s], "imagesTr", c.id + channel_suffix(s));
  link_image(links, c.label, "labelsTr", c.id);
}

// A set of links, as it should be.
struct LinkedSet {
  Path folder;  // in the study's
  Links links;
  Json description;
};

// Of a patient who was scanned again, one scan would be learnt from and another one tested.
void require_patients_apart(const std::vector<CaseFiles>& cases, const std::set<std::string>& held_out) {
  std::map<std::string, std::string> patients;
  for (const std::string& id : held_out) patients[patient_of(id)] = id;
  for (const CaseFiles& c : cases)
    if (const auto same = patients.find(patient_of(c.id)); same != patients.end() && !held_out.contains(c.id))
      fail(Fault::input, "case ", same->second, " is held out, but ", c.id,
           " of the same patient is left to train; hold out both or none");
}

// The private set without the held-out cases, and those.
std::vector<LinkedSet> divide(const StudyConfig& config) {
  const Path& raw = config.private_data.raw;
  std::vector<std::string> faults;
  const RawDataset all = open_raw_dataset(raw, &faults);
  if (!faults.empty())
    fail(Fault::input, raw.string(), ": ", faults.size(), " faults, which `metvox check` names (", faults.front(),
         "); mend or remove them first");
  const std::set<std::string> held_out(config.held_out.cases.begin(), config.held_out.cases.end());
  std::set<std::string> missing = held_out;
  for (const CaseFiles& c : all.training) missing.erase(c.id);
  if (!missing.empty()) fail(Fault::input, raw.string(), ": has no case ", *missing.begin(), " to hold out");
  if (held_out.size() == all.training.size())
    fail(Fault::input, raw.string(), ": every case is held out; none is left to train");
  require_patients_apart(all.training, held_out);
  LinkedSet kept{study_paths::kPrivateData, {}, all.description.json}, tested = kept;
  tested.folder = study_paths::kHeldOutData;
  for (const CaseFiles& c : all.training) link_case(held_out.contains(c.id) ? tested.links : kept.links, c);
  kept.description["numTraining"] = all.training.size() - held_out.size();
  tested.description["numTraining"] = held_out.size();
  for (LinkedSet* set : {&kept, &tested}) set->description.erase("dataset");
  return {kept, tested};
}

// The links that are there. What is no link was not made by a study, and is not to be lost.
Links links_in(const Path& folder) {
  Links links;
  if (!fs::exists(folder)) return links;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const Path where = entry.path().lexically_relative(folder);
    if (entry.is_symlink()) links[where] = fs::read_symlink(entry.path());
    else if (!entry.is_directory() && where.filename() != "dataset.json")
      fail(Fault::usage, entry.path().string(), " is no link that a study made, but this is where its links go; give ",
           "--out another folder");
  }
  return links;
}

// From nothing, beside its place, so that it is there whole or not at all.
void build(const LinkedSet& set, const Path& study) {
  const Path folder = study / set.folder;
  if (links_in(folder) == set.links && fs::exists(folder / "dataset.json")) return;
  Path beside = folder;
  beside += ".new";
  links_in(beside);
  fs::remove_all(beside);
  for (const char* part : {"imagesTr", "labelsTr"}) make_folder(beside / part);
  for (const auto& [where, to] : set.links) fs::create_symlink(to, beside / where);
  write_json(beside / "dataset.json", set.description);
  fs::remove_all(folder);
  fs::rename(beside, folder);
}

}  // namespace

void prepare_study(const StudyConfig& config, const Path& study) {
  const std::vector<LinkedSet> sets = config.held_out.cases.empty() ? std::vector<LinkedSet>{} : divide(config);
  for (const LinkedSet& set : sets) links_in(study / set.folder);
  const StudyLock lock(study);
  const Json wanted = to_json(config);
  const Path file = study / "study.json";
  if (fs::exists(file)) {
    const Json differences = Json::diff(to_json(study_config(read_json(file), file)), wanted);
    if (!differences.empty())
      fail(Fault::usage, file.string(), " is of another study: ", get<std::string>(differences[0], "path", file),
           " differs; give --out another folder, or remove this one");
  }
  for (const LinkedSet& set : sets) build(set, study);
  if (!fs::exists(file)) write_json(file, wanted);
}

}  // namespace metvox
