// SPDX-License-Identifier: Apache-2.0
// The held-out cases as pictures need them.
#pragma once
#include "segmentation/evaluation/slices.h"
#include "segmentation/study/report_data.h"

namespace metvox {

// The largest extents of panels in the page, pixels.
constexpr int kSliceHeight = 260, kCloseUpHeight = 200;
constexpr double kCloseUp_mm = 40;

class StudyCases {
 public:
  explicit StudyCases(const StudyConfig& config, const Path& study);

  // Why there are no pictures; empty where the folders are there.
  const std::string& fault() const { return fault_; }
  const DatasetDescription& dataset() const { return dataset_; }
  // The first sequence and, where there is one, FLAIR; the truth; no prediction. Kept until another case is asked for.
  // Throws Error (Fault::input) that names what is missing or lies on another grid.
  const CaseVolumes& volumes(const std::string& sample);
  Tensor prediction(const StudySystem& system, const std::string& sample);
  // The same with a prediction.
  CaseVolumes predicted(const StudySystem& system, const std::string& sample);
  Tensor map(const Path& file, const std::string& sample);  // f32, of the study's folder; empty where it is not there

 private:
  struct OnDisk {
    std::vector<Path> images;
    Path truth;
  };
  Path study_;
  DatasetDescription dataset_;
  std::map<std::string, OnDisk> cases_{};
  std::string fault_{}, kept_sample_{};
  CaseVolumes kept_{};
};

// A picture with its name and a few words.
std::string figure(const Picture& picture, const std::string& name, const std::string& words);
// What the figure needs may not be there any more: then a sentence is in its place.
std::string or_note(const std::function<std::string()>& pictures);
// World R, A, S to a voxel (z, y, x) of the grid.
Double3 voxel_at(const Geometry& grid, const std::array<double, 3>& mm);
// As a tint: `opacity` where the labels (u8) are in the region.
Tensor share_of(const Tensor& labels, const LabelTarget& region, float opacity);
std::string legend(const std::vector<std::pair<Rgb, std::string>>& colours);

}  // namespace metvox
