// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/case_pairs.h"

#include <map>

#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "segmentation/data/dataset.h"

namespace metvox {

namespace {

// The label file of each case; a case with several has none, and its sentence goes to `twice`.
std::map<std::string, Path> single_labels(const Path& dir, std::map<std::string, std::string>& twice) {
  std::map<std::string, Path> out;
  for (const auto& [id, paths] : find_label_files(image_files(dir))) {
    out[id] = paths[0];
    if (paths.size() > 1)
      twice[id] = sentence(id, ": the label is there more than once: ", paths[0].string(), ", ", paths[1].string(),
                           "; keep one");
  }
  return out;
}

}  // namespace

std::vector<LabelFiles> pair_files(const Path& prediction_dir, const Path& truth_dir,
                                   std::vector<std::string>& without_truth,
                                   std::vector<std::string>& without_prediction) {
  std::map<std::string, LabelFiles> cases;
  std::map<std::string, std::string> twice;
  for (const auto& [sample, path] : single_labels(prediction_dir, twice)) cases[sample].prediction = path;
  for (const auto& [sample, path] : single_labels(truth_dir, twice)) cases[sample].truth = path;
  for (const auto& [sample, fault] : twice) {
    without_truth.push_back(fault);
    cases.erase(sample);
  }
  std::vector<LabelFiles> pairs;
  for (auto& [sample, files] : cases) {
    files.sample = sample;
    if (files.truth.empty())
      without_truth.push_back(sentence(sample, ": no truth in ", truth_dir.string(), " for ", files.prediction.string(),
                                       "; expected ", sample, ".nii.gz or ", sample, "-seg.nii.gz"));
    else if (files.prediction.empty())
      without_prediction.push_back(sentence(sample, ": no prediction in ", prediction_dir.string(), " for ",
                                            files.truth.string(), "; expected ", sample, ".nii.gz"));
    else pairs.push_back(files);
  }
  return pairs;
}

LabelVolumes read_pair(const LabelFiles& files, const Labels& labels) {
  const Volume truth = read_nifti_labels(files.truth), prediction = read_nifti_labels(files.prediction);
  require_known_labels(truth.voxels, labels, files.sample, files.truth);
  require_known_labels(prediction.voxels, labels, files.sample, files.prediction);
  const Tensor turned = onto_lattice(prediction, truth.geometry);
  if (!turned)
    fail(Fault::input, "prediction and truth lie on different grids: ", files.prediction.string(), " has ",
         describe(prediction.geometry), ", ", files.truth.string(), " has ", describe(truth.geometry),
         "; resample one to the other's grid first");
  return {turned, truth.voxels, truth.geometry, prediction.geometry};
}

SummaryCase summarize(const LabelFiles& files, const LabelVolumes& volumes, const Labels& labels) {
  const LabelPairs pairs(volumes.prediction, volumes.truth);
  SummaryCase c{files.prediction, files.truth, {}};
  for (const LabelTarget& target : labels.foreground())
    c.targets.push_back(pairs.counts(target, labels.ignore_label()));
  return c;
}

}  // namespace metvox
