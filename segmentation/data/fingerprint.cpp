// SPDX-License-Identifier: Apache-2.0
// nnU-Net (2.8.1, experiment_planning/dataset_fingerprint/fingerprint_extractor.py) draws equally many foreground
// voxels from each case, 1e8 in all, with replacement; here every voxel is taken and weighs one over its case's number
// of them, which is what those draws tend to. Only a case with more than its share of kPooled voxels is drawn from.
#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/preprocess.h"
#include "tensor/random.h"

namespace metvox {
namespace {

constexpr int64_t kPooled = 4'000'000;  // foreground values a channel kept in memory

struct Sample {
  float value, weight;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
}

// Offsets of the labelled voxels inside the box; at most `share` of them.
std::vector<int64_t> foreground(const Tensor& labels, const CropBox& box, int64_t share, Random random) {
  std::vector<int64_t> all;
  const Shape& n = labels.shape();
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y)
      for (int64_t x = box.first[2]; x < box.last[2]; ++x) {
        const int64_t i = (z * n[1] + y) * n[2] + x;
        if (labels.data<uint8_t>()[i] > 0) all.push_back(i);
      }
  if (static_cast<int64_t>(all.size()) <= share) return all;
  std::vector<int64_t> drawn;
  for (int64_t i = 0; i < share; ++i)
    drawn.push_back(all[static_cast<size_t>(random.below(static_cast<int64_t>(all.size())))]);
  return drawn;
}

// Lowest value below which (and at which) the given share of the weight lies.
double percentile(const std::vector<Sample>& sorted, double total, double percent) {
  double seen = 0;
  for (const Sample& s : sorted) {
    seen += s.weight;
    if (seen >= total * percent / 100) return s.value;
  }
  return sorted.back().value;
}

IntensityProperties intensity_properties(std::vector<Sample>& samples) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (samples.empty()) return {kNone, kNone, kNone, kNone, kNone, kNone, kNone};
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.value < b.value || (a.value == b.value && a.weight < b.weight);
  });
  double total = 0, sum = 0, squares = 0;
  for (const Sample& s : samples) {
    total += s.weight;
    sum += static_cast<double>(s.weight) * s.value;
  }
  const double mean = sum / total;
  for (const Sample& s : samples) squares += s.weight * (s.value - mean) * (s.value - mean);
  return {.mean = mean,
          .median = percentile(samples, total, 50),
          .std = std::sqrt(squares / total),
          .min = samples.front().value,
          .max = samples.back().value,
          .percentile_00_5 = percentile(samples, total, 0.5),
          .percentile_99_5 = percentile(samples, total, 99.5)};
}

// What the cases tell, gathered one by one.
struct Gathered {
  std::vector<std::vector<Sample>> samples;  // of each channel
  std::vector<double> relative_sizes;

  void add(const CaseFiles& files, const Labels& defined, int64_t share, Random random, Fingerprint& f) {
    const CaseImages images = read_case(files);
    const Tensor labels = read_case_labels(files, images.geometry, defined);
    const CropBox box = bounding_box(nonzero_mask(images.data));
    const Int3 shape{box.last[0] - box.first[0], box.last[1] - box.first[1], box.last[2] - box.first[2]};
    const auto& mm = images.geometry.spacing_mm;
    f.spacings_mm.push_back({mm[2], mm[1], mm[0]});
    f.shapes_after_crop.push_back(shape);
    relative_sizes.push_back(static_cast<double>(volume(shape)) / static_cast<double>(labels.size()));
    const auto voxels = foreground(labels, box, share, random);
    for (size_t c = 0; c < samples.size(); ++c)
      for (int64_t i : voxels)
        samples[c].push_back({images.data.data<float>()[static_cast<int64_t>(c) * labels.size() + i],
                              1.0f / static_cast<float>(voxels.size())});
  }
};

}  // namespace

Fingerprint make_fingerprint(const RawDataset& dataset, uint64_t seed, std::vector<std::string>* faulty) {
  check(!dataset.training.empty(), "make_fingerprint: the data set has no cases");
  Fingerprint f;
  const auto cases = static_cast<int64_t>(dataset.training.size());
  const int64_t share = std::max<int64_t>(1, kPooled / cases);
  Gathered gathered{.samples = std::vector<std::vector<Sample>>(dataset.description.channel_names.size()),
                    .relative_sizes = {}};
  std::vector<CaseFault> faults;
  for (int64_t k = 0; k < cases; ++k) {
    const CaseFiles& files = dataset.training[static_cast<size_t>(k)];
    if (auto fault = try_case(files.id, [&] {
          gathered.add(files, dataset.description.labels, share, Random(seed, static_cast<uint64_t>(k)), f);
        }))
      faults.push_back(std::move(*fault));
  }
  if (!faults.empty() && (!faulty || faults.size() == dataset.training.size())) {
    std::string text;
    for (const CaseFault& fault : faults) text += (text.empty() ? "" : "\n") + fault.text;
    fail(faults.front().fault, text);
  }
  for (CaseFault& fault : faults) faulty->push_back(std::move(fault.text));
  for (std::vector<Sample>& s : gathered.samples) f.intensities.push_back(intensity_properties(s));
  f.median_relative_size_after_cropping = median(gathered.relative_sizes);
  return f;
}

Json to_json(const Fingerprint& f) {
  Json out;
  out["spacings"] = f.spacings_mm;
  out["shapes_after_crop"] = f.shapes_after_crop;
  out["foreground_intensity_properties_per_channel"] = intensities_json(f.intensities);
  out["median_relative_size_after_cropping"] = f.median_relative_size_after_cropping;
  return out;
}

Fingerprint fingerprint_from_json(const Json& json, const Path& where) {
  Fingerprint f;
  f.spacings_mm = get<std::vector<Double3>>(json, "spacings", where);
  f.shapes_after_crop = get<std::vector<Int3>>(json, "shapes_after_crop", where);
  f.intensities = intensities_from_json(get<Json>(json, "foreground_intensity_properties_per_channel", where), where);
  f.median_relative_size_after_cropping = get<double>(json, "median_relative_size_after_cropping", where);
  return f;
}

}  // namespace metvox
