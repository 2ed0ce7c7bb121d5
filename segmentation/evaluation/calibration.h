// SPDX-License-Identifier: Apache-2.0
// Are probabilities what they say? Of the voxels with a probability about p, a share p should belong to the region:
// reliability diagram and expected calibration error (Naeini et al. 2015; of segmentations: Mehrtash et al. 2020).
#pragma once
#include <array>

#include "io/csv.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

// Voxels count in boxes around the pieces (26-connected) that are truly inside or have a probability of at least
// kCalibrationFloor, grown by kCalibrationMargin_mm: over a whole head the sure background would hide every error.
inline constexpr double kCalibrationFloor = 0.1, kCalibrationMargin_mm = 10;

struct Calibration {
  struct Bin {
    int64_t voxels = 0, inside = 0;  // inside: truly
    double probability = 0;          // their sum
  };
  std::array<Bin, 10> bins{};  // of equal width, from 0 to 1

  // Adds a case: probability f32 and truth u8 (1 inside), (z, y, x) on one grid.
  void add(const Tensor& probability, const Tensor& truth, const Double3& spacing_mm);
  void add(const Calibration& other);

  Bin all() const;
  // Mean distance of a bin's share inside from its mean probability, bins weighted by voxels; NaN without voxels.
  double expected_error() const;
  double bias() const;  // mean probability minus share inside: above 0 where the model promises too much
};

// calibration.csv: a row a case, region and bin, `sample` and `region` first.
struct CaseCalibration {
  std::string sample, region;
  Calibration calibration;
};
CsvTable calibration_table(const std::vector<CaseCalibration>& cases);

}  // namespace metvox
