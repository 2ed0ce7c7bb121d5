// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/calibration.h"

#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/components.h"

namespace metvox {

namespace {

void fill(Tensor& mask, const CropBox& box) {
  const Shape& n = mask.shape();
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y) {
      uint8_t* line = mask.data<uint8_t>() + (z * n[1] + y) * n[2];
      std::fill(line + box.first[2], line + box.last[2], uint8_t{1});
    }
}

CropBox with_margin(const Component& piece, const Shape& image, const Double3& spacing_mm) {
  CropBox box = piece.box();
  for (size_t a = 0; a < 3; ++a) {
    const auto voxels = static_cast<int64_t>(std::ceil(kCalibrationMargin_mm / spacing_mm[a]));
    box.first[a] = std::max<int64_t>(box.first[a] - voxels, 0);
    box.last[a] = std::min(box.last[a] + voxels, image[static_cast<int>(a)]);
  }
  return box;
}

// u8 (z, y, x), 1 where voxels count.
Tensor counted(const Tensor& probability, const Tensor& truth, const Double3& spacing_mm) {
  const Tensor there = Tensor::empty(truth.shape(), DType::u8);
  const auto floor = static_cast<float>(kCalibrationFloor);
  std::transform(probability.data<float>(), probability.data<float>() + probability.size(), truth.data<uint8_t>(),
                 there.data<uint8_t>(), [floor](float p, uint8_t t) -> uint8_t { return p >= floor || t; });
  Tensor mask = Tensor::zeros(truth.shape(), DType::u8);
  for (const Component& piece : find_components(there).components)
    fill(mask, with_margin(piece, truth.shape(), spacing_mm));
  return mask;
}

}  // namespace

void Calibration::add(const Tensor& probability, const Tensor& truth, const Double3& spacing_mm) {
  check(probability.shape() == truth.shape(), "Calibration: probabilities of ", probability.shape(), ", truth of ",
        truth.shape());
  const Tensor mask = counted(probability, truth, spacing_mm);
  const float* p = probability.data<float>();
  const uint8_t* t = truth.data<uint8_t>();
  for_each_nonzero(mask.data<uint8_t>(), mask.size(), [&](int64_t i) {
    const auto place = static_cast<int64_t>(p[i] * static_cast<float>(bins.size()));
    Bin& bin = bins[static_cast<size_t>(std::clamp<int64_t>(place, 0, static_cast<int64_t>(bins.size()) - 1))];
    ++bin.voxels;
    bin.inside += t[i] != 0;
    bin.probability += p[i];
  });
}

void Calibration::add(const Calibration& other) {
  for (size_t i = 0; i < bins.size(); ++i) {
    bins[i].voxels += other.bins[i].voxels;
    bins[i].inside += other.bins[i].inside;
    bins[i].probability += other.bins[i].probability;
  }
}

Calibration::Bin Calibration::all() const {
  Bin sum;
  for (const Bin& bin : bins) {
    sum.voxels += bin.voxels;
    sum.inside += bin.inside;
    sum.probability += bin.probability;
  }
  return sum;
}

double Calibration::expected_error() const {
  double sum = 0;
  for (const Bin& bin : bins) sum += std::abs(bin.probability - static_cast<double>(bin.inside));
  return sum / static_cast<double>(all().voxels);
}

double Calibration::bias() const {
  const Bin sum = all();
  return (sum.probability - static_cast<double>(sum.inside)) / static_cast<double>(sum.voxels);
}

CsvTable calibration_table(const std::vector<CaseCalibration>& cases) {
  CsvTable table{{"sample", "region", "from", "below", "voxels", "inside", "mean_probability"}, {}};
  for (const CaseCalibration& c : cases) {
    const auto& bins = c.calibration.bins;
    const auto count = static_cast<double>(bins.size());
    for (size_t i = 0; i < bins.size(); ++i)
      table.rows.push_back({c.sample, c.region, csv_number(static_cast<double>(i) / count),
                            csv_number(static_cast<double>(i + 1) / count), std::to_string(bins[i].voxels),
                            std::to_string(bins[i].inside),
                            csv_number(bins[i].probability / static_cast<double>(bins[i].voxels))});
  }
  return table;
}

}  // namespace metvox
