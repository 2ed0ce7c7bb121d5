// SPDX-License-Identifier: Apache-2.0
// From logits back to the raw grid, one slab of that grid at a time: a slab is interpolated along z for all heads, then
// row by row along y and x, and decided at once. Nothing of heads times native size is ever held.
#include <algorithm>
#include <cmath>

#include "segmentation/data/axis_taps.h"
#include "segmentation/data/permute.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/data/resample.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// out = a * wa + b * wb.
template <class T>
void blend(const T* a, const T* b, double wa, double wb, int64_t n, float* out) {
  const auto fa = static_cast<float>(wa), fb = static_cast<float>(wb);
  for (int64_t i = 0; i < n; ++i) out[i] = fa * static_cast<float>(a[i]) + fb * static_cast<float>(b[i]);
}

struct Restorer {
  Tensor logits;  // f32 or f16
  int64_t heads;
  Int3 from;  // of the logits
  std::array<AxisTaps, 3> taps;
  std::vector<uint8_t> value;  // label that head r writes
  bool regions;
  uint8_t* labels;       // at the crop's first voxel on the raw grid
  float* probabilities;  // there too, or null
  Int3 stride;           // on the raw grid, of the axes after transposition
  int64_t voxels;        // of the raw grid

  template <class T>
  void along_z(const T* logit, size_t k, std::vector<float>& plane) const {
    const int64_t area = from[1] * from[2];
    for (int64_t r = 0; r < heads; ++r) {
      const T* head = logit + r * from[0] * area;
      blend(head + taps[0].first[k] * area, head + taps[0].second[k] * area, taps[0].first_weight[k],
            taps[0].second_weight[k], area, plane.data() + r * area);
    }
  }

  void slab(size_t k, std::vector<float>& plane, std::vector<float>& row, std::vector<float>& point) const {
    const int64_t area = from[1] * from[2];
    const bool halves = logits.dtype() == DType::f16;
    if (halves) along_z(logits.data<f16>(), k, plane);
    else along_z(logits.data<float>(), k, plane);
    for (size_t j = 0; j < taps[1].first.size(); ++j) {
      for (int64_t r = 0; r < heads; ++r) {
        const float* head = plane.data() + r * area;
        blend(head + taps[1].first[j] * from[2], head + taps[1].second[j] * from[2], taps[1].first_weight[j],
              taps[1].second_weight[j], from[2], row.data() + r * from[2]);
      }
      const int64_t start = static_cast<int64_t>(k) * stride[0] + static_cast<int64_t>(j) * stride[1];
      for (size_t i = 0; i < taps[2].first.size(); ++i) {
        const auto wa = static_cast<float>(taps[2].first_weight[i]), wb = static_cast<float>(taps[2].second_weight[i]);
        for (int64_t r = 0; r < heads; ++r) {
          const float* head = row.data() + r * from[2];
          const float logit = wa * head[taps[2].first[i]] + wb * head[taps[2].second[i]];
          point[static_cast<size_t>(r)] = halves ? static_cast<float>(f16(logit)) : logit;
        }
        decide(point, start + static_cast<int64_t>(i) * stride[2]);
      }
    }
  }

  void decide(const std::vector<float>& logit, int64_t at) const {
    if (regions) {
      uint8_t label = 0;
      for (size_t r = 0; r < logit.size(); ++r)
        if (logit[r] > 0) label = value[r];
      labels[at] = label;
    } else {
      labels[at] = value[static_cast<size_t>(std::max_element(logit.begin(), logit.end()) - logit.begin())];
    }
    if (!probabilities) return;
    const float most = *std::max_element(logit.begin(), logit.end());
    float sum = 0;
    for (float v : logit) sum += std::exp(v - most);
    for (size_t r = 0; r < logit.size(); ++r)
      probabilities[static_cast<int64_t>(r) * voxels + at] =
          regions ? 1 / (1 + std::exp(-logit[r])) : std::exp(logit[r] - most) / sum;
  }
};

}  // namespace

Tensor restore_labels(const Tensor& logits, const CaseProperties& p, const Plans& plans,
                      const Configuration& configuration, const Labels& names, Tensor* probabilities) {
  const std::vector<LabelTarget> heads = names.heads();
  check(logits.shape().rank() == 4 && logits.shape()[0] == static_cast<int64_t>(heads.size()),
        "restore_labels: the logits are ", logits.shape(), ", expected ", heads.size(), " heads");
  Restorer r{};
  r.logits = logits;
  r.heads = logits.shape()[0];
  r.from = {logits.shape()[1], logits.shape()[2], logits.shape()[3]};
  r.regions = names.has_regions();
  for (size_t h = 0; h < heads.size(); ++h)
    r.value.push_back(static_cast<uint8_t>(r.regions ? names.regions_class_order[h] : heads[h].labels[0]));

  const SeparateZ rule = separate_z(target_spacing_mm(p, configuration), p.spacing_mm);
  for (size_t a = 0; a < 3; ++a)
    r.taps[a] = rule.separate && rule.axis == static_cast<int>(a) ? nearest_taps(r.from[a], p.shape_after_cropping[a])
                                                                  : linear_taps(r.from[a], p.shape_after_cropping[a]);

  const Int3 grid = permute(p.shape_before_cropping, plans.transpose_backward);
  const auto& file = p.geometry.shape;
  check(grid == Int3{file[2], file[1], file[0]}, "restore_labels: case ", p.id, " was ", grid[0], "x", grid[1], "x",
        grid[2], ", its file is ", file[2], "x", file[1], "x", file[0]);
  r.voxels = volume(grid);
  r.stride = permute(Int3{grid[1] * grid[2], grid[2], 1}, plans.transpose_forward);
  Tensor out = Tensor::zeros({grid[0], grid[1], grid[2]}, DType::u8);
  int64_t first_voxel = 0;
  for (size_t a = 0; a < 3; ++a) first_voxel += p.bbox_first[a] * r.stride[a];
  r.labels = out.data<uint8_t>() + first_voxel;
  if (probabilities) {
    *probabilities = Tensor::zeros({r.heads, grid[0], grid[1], grid[2]}, DType::f32);
    if (!r.regions) std::fill_n(probabilities->data<float>(), r.voxels, 1.0f);
    r.probabilities = probabilities->data<float>() + first_voxel;
  }
  parallel_for(p.shape_after_cropping[0], 1, [&](int64_t first, int64_t last) {
    const auto room = [&](int64_t n) { return std::vector<float>(static_cast<size_t>(r.heads * n)); };
    std::vector<float> plane = room(r.from[1] * r.from[2]), row = room(r.from[2]), point = room(1);
    for (int64_t k = first; k < last; ++k) r.slab(static_cast<size_t>(k), plane, row, point);
  });
  return out;
}

Tensor restore_maps(const Tensor& maps, const CaseProperties& p, const Plans& plans,
                    const Configuration& configuration) {
  const Int3 n = p.shape_after_cropping, grid = permute(p.shape_before_cropping, plans.transpose_backward);
  const Tensor near = resample_data(maps, n, target_spacing_mm(p, configuration), p.spacing_mm, 1);
  const Int3 stride = permute(Int3{grid[1] * grid[2], grid[2], 1}, plans.transpose_forward);
  const Tensor out = Tensor::zeros({maps.shape()[0], grid[0], grid[1], grid[2]}, DType::f32);
  const float* from = near.data<float>();
  for (int64_t r = 0; r < maps.shape()[0]; ++r)
    for (int64_t z = 0; z < n[0]; ++z)
      for (int64_t y = 0; y < n[1]; ++y)
        for (int64_t x = 0; x < n[2]; ++x)
          out.data<float>()[r * volume(grid) + (z + p.bbox_first[0]) * stride[0] + (y + p.bbox_first[1]) * stride[1] +
                            (x + p.bbox_first[2]) * stride[2]] = *from++;
  return out;
}

}  // namespace metvox
