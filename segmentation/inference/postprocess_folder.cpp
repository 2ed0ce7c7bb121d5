// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/postprocess_folder.h"

#include "io/nifti.h"

namespace metvox {

Predictions postprocess_folder(const Path& from, const Path& to, const Labels& names,
                               const std::vector<PostprocessingRule>& rules, const PredictOptions& options,
                               const CaseProgress& progress,
                               const std::function<void(const std::string&, const Removed&)>& done) {
  const auto files = find_labels(from);
  if (files.empty()) fail(Fault::input, from.string(), ": holds no CASE.nii.gz");
  make_folder(to);
  for (const char* name : {"dataset.json", "plans.json"})
    if (std::filesystem::exists(from / name)) write_json(to / name, read_json(from / name));
  std::vector<std::string> ids;
  for (const auto& [id, path] : files) ids.push_back(id);
  return write_cases(ids, progress, [&](int64_t i) {
    const auto& [id, path] = files[static_cast<size_t>(i)];
    if (!options.overwrite && finished(prediction_files(to, id), false)) return false;
    const Volume labels = read_nifti_labels(path);
    const Removed removed = postprocess(labels.voxels, labels.geometry, rules);
    write_segmentation(to, id, labels.voxels, labels.geometry, names, options.note);
    done(id, removed);
    return true;
  });
}

}  // namespace metvox
