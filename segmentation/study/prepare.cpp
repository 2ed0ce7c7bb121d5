// SPDX-License-Identifier: Apache-2.0
// The study's folder before its first job.
#include <algorithm>
#include <set>

#include "segmentation/data/config_hash.h"
#include "segmentation/study/jobs.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

// A link that may be there from before.
void link(const Path& to, const Path& from) {
  if (fs::is_symlink(from)) fs::remove(from);
  fs::create_symlink(fs::absolute(to), from);
}

// NAME.nii.gz, or the two files of NAME.hdr, in the folder.
void link_image(const Path& image, const Path& folder, const std::string& name) {
  if (image.extension() == ".gz") return link(image, folder / (name + image.stem().extension().string() + ".gz"));
  link(image, folder / (name + image.extension().string()));
  if (image.extension() == ".hdr") link(Path(image).replace_extension(".img"), folder / (name + ".img"));
}

void link_case(const CaseFiles& c, const Path& set) {
  for (size_t s = 0; s < c.images.size(); ++s)
    link_image(c.images[s], set / "imagesTr", c.id + "_000" + std::to_string(s));
  link_image(c.label, set / "labelsTr", c.id);
}

// Two sets of links: the private set without the held-out cases, and those.
void divide(const StudyConfig& config, const Path& study) {
  std::vector<std::string> faults;
  const RawDataset all = open_raw_dataset(config.private_data.raw, &faults);
  if (!faults.empty())
    fail(Fault::input, config.private_data.raw.string(), ": ", faults.size(), " faults, which `metvox check` names (",
         faults.front(), "); mend or remove them first");
  std::set<std::string> missing(config.held_out.cases.begin(), config.held_out.cases.end());
  Json description = all.description.json;
  description.erase("dataset");
  int64_t kept = 0;
  for (const Path& set : {study_paths::kPrivateData, study_paths::kHeldOutData})
    for (const char* part : {"imagesTr", "labelsTr"}) make_folder(study / set / part);
  for (const CaseFiles& c : all.training) {
    const bool held_out = missing.erase(c.id) > 0;
    link_case(c, study / (held_out ? study_paths::kHeldOutData : study_paths::kPrivateData));
    kept += !held_out;
  }
  if (!missing.empty())
    fail(Fault::input, config.private_data.raw.string(), ": has no case ", *missing.begin(), " to hold out");
  if (kept == 0)
    fail(Fault::input, config.private_data.raw.string(), ": every case is held out; none is left to train");
  for (const auto& [set, cases] : {std::pair{study_paths::kPrivateData, kept},
                                   {study_paths::kHeldOutData, static_cast<int64_t>(config.held_out.cases.size())}}) {
    description["numTraining"] = cases;
    write_json(study / set / "dataset.json", description);
  }
}

}  // namespace

void prepare_study(const StudyConfig& config, const Path& study) {
  Json wanted = to_json(config);
  const Path file = study / "study.json";
  if (fs::exists(file)) {
    const Json found = to_json(study_config(read_json(file), file));
    const Json differences = Json::diff(found, wanted);
    if (!differences.empty())
      fail(Fault::usage, file.string(), " is of another study: ", get<std::string>(differences[0], "path", file),
           " differs; give --out another folder, or remove this one");
  }
  make_folder(study / "jobs");
  if (!config.held_out.cases.empty()) divide(config, study);
  if (!fs::exists(file)) write_json(file, wanted);
}

}  // namespace metvox
