// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/restore.h"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "segmentation/data/axis_taps.h"
#include "segmentation/data/permute.h"
#include "segmentation/data/restore_rows.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr int64_t kRows =
    16;  // of a slab that a thread restores at once: what it needs of all heads stays in its cache

}  // namespace

RestoreGrid file_grid(const CaseProperties& p, const Plans& plans, const Configuration& configuration) {
  RestoreGrid g;
  g.size = p.shape_after_cropping;
  g.nearest = separate_z(target_spacing_mm(p, configuration), p.spacing_mm);
  g.shape = permute(p.shape_before_cropping, plans.transpose_backward);
  const auto& file = p.geometry.shape;
  check(g.shape == Int3{file[2], file[1], file[0]}, "file_grid: case ", p.id, " was ", g.shape[0], "x", g.shape[1], "x",
        g.shape[2], ", its file is ", file[2], "x", file[1], "x", file[0]);
  g.stride = permute(Int3{g.shape[1] * g.shape[2], g.shape[2], 1}, plans.transpose_forward);
  for (size_t a = 0; a < 3; ++a) g.first += p.bbox_first[a] * g.stride[a];
  return g;
}

RestoreGrid next_stage_grid(const Int3& shape, const CaseProperties& properties, const Configuration& configuration) {
  // The reference gives its own spacing as the target's too, so that alone decides whether z is apart.
  const Double3 spacing_mm = target_spacing_mm(properties, configuration);
  return {shape, separate_z(spacing_mm, spacing_mm), shape, 0, {shape[1] * shape[2], shape[2], 1}};
}

LabelRestorer::Taps::Taps(const RestoreGrid& grid, const Int3& size, size_t axis)
    : moves(grid.size[axis] != size[axis]) {
  const bool nearest = grid.nearest.separate && grid.nearest.axis == static_cast<int>(axis);
  const AxisTaps taps = nearest ? nearest_taps(size[axis], grid.size[axis]) : linear_taps(size[axis], grid.size[axis]);
  first.assign(taps.first.begin(), taps.first.end());
  second.assign(taps.second.begin(), taps.second.end());
  for (double w : taps.first_weight) first_weight.push_back(static_cast<float>(w));
  for (double w : taps.second_weight) second_weight.push_back(static_cast<float>(w));
  for (size_t i = 0; i < second.size(); ++i)
    if (second_weight[i] == 0) second[i] = first[i];  // so that nobody waits for it
}

LabelRestorer::LabelRestorer(const RestoreGrid& grid, const Int3& size, const Labels& labels, bool probabilities)
    : grid_(grid),
      size_(size),
      heads_(static_cast<int64_t>(labels.heads().size())),
      regions_(labels.has_regions()),
      decide_(labels, 0),
      labels_(Tensor::zeros({grid.shape[0], grid.shape[1], grid.shape[2]}, DType::u8)) {
  for (size_t a = 0; a < 3; ++a) taps_[a] = Taps(grid, size, a);
  if (!probabilities) return;
  probabilities_ = Tensor::zeros({heads_, grid.shape[0], grid.shape[1], grid.shape[2]}, DType::f32);
  if (!regions_) std::fill_n(probabilities_.data<float>(), labels_.size(), 1.0f);
}

size_t LabelRestorer::bytes(const RestoreGrid& grid, const Int3& size, int64_t heads, bool probabilities) {
  const auto raw = static_cast<size_t>(volume(grid.shape)), row = static_cast<size_t>(heads) * sizeof(float);
  const auto rows = static_cast<size_t>(threads() * (2 * kRows * size[2] + grid.size[2]) + size[1] * size[2]);
  return raw + (probabilities ? raw * row : 0) + rows * row;
}

// What a thread works in, for all heads.
struct LabelRestorer::Rows {
  explicit Rows(const LabelRestorer& r)
      : along(static_cast<size_t>(r.heads_ * r.grid_.size[2])),
        row(static_cast<size_t>(r.size_[2])),
        voxels(static_cast<size_t>(r.grid_.size[2])),
        result(static_cast<size_t>(r.heads_)) {}
  std::vector<float> between;        // rows of the plane between two planes: (R, rows, x)
  std::vector<float> along;          // a row of the result, (R, x)
  std::vector<float> row;            // one between two rows
  std::vector<uint8_t> voxels;       // its labels
  std::vector<const float*> result;  // where each head's row lies
};

void LabelRestorer::add(const LogitPlanes& planes) {
  check(planes.ring.shape()[0] == heads_ && planes.first == come_ && planes.last <= size_[0], "LabelRestorer: planes ",
        planes.first, " to ", planes.last, " of ", planes.ring.shape(), ", expected those from ", come_, " on, of ",
        heads_, " heads");
  const auto slabs = static_cast<int64_t>(taps_[0].second.size());
  int64_t end = slab_;
  while (end < slabs && taps_[0].second[static_cast<size_t>(end)] < planes.last) ++end;
  const int64_t pieces = (grid_.size[1] + kRows - 1) / kRows;
  parallel_for((end - slab_) * pieces, 1, [&](int64_t first, int64_t last) {
    Rows rows(*this);
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i % pieces * kRows;
      restore_rows(planes, slab_ + i / pieces, row, std::min(row + kRows, grid_.size[1]), rows);
    }
  });
  slab_ = end;
  come_ = planes.last;
  if (come_ == size_[0]) return;
  const int64_t area = size_[1] * size_[2];
  kept_.resize(static_cast<size_t>(heads_ * area));
  for (int64_t r = 0; r < heads_; ++r) std::copy_n(planes.at(r, come_ - 1), area, kept_.data() + r * area);
}

void LabelRestorer::restore_rows(const LogitPlanes& planes, int64_t slab, int64_t first, int64_t last, Rows& rows) {
  const auto &z = taps_[0], &y = taps_[1], &x = taps_[2];
  const auto k = static_cast<size_t>(slab);
  const int64_t width = size_[2], from = y.first[static_cast<size_t>(first)],
                count = y.second[static_cast<size_t>(last - 1)] + 1 - from;
  const auto plane = [&](int64_t r, int64_t at) {
    return at < planes.first ? kept_.data() + r * size_[1] * width : planes.at(r, at);
  };
  const bool between = z.second_weight[k] != 0;
  if (between) {
    rows.between.resize(static_cast<size_t>(heads_ * count * width));
    for (int64_t r = 0; r < heads_; ++r) METVOX_ISA_CALL(mix_rows)
    (plane(r, z.first[k]) + from * width, plane(r, z.second[k]) + from * width, z.first_weight[k], z.second_weight[k],
     count * width, rows.between.data() + r * count * width);
  }
  for (int64_t row = first; row < last; ++row) {
    const auto j = static_cast<size_t>(row);
    for (int64_t r = 0; r < heads_; ++r) {
      const float* base = between ? rows.between.data() + (r * count - from) * width : plane(r, z.first[k]);
      const float* line = base + y.first[j] * width;
      float* to = rows.along.data() + r * grid_.size[2];
      if (y.second_weight[j] != 0) {
        float* mixed = x.moves ? rows.row.data() : to;
        METVOX_ISA_CALL(mix_rows)
        (line, base + y.second[j] * width, y.first_weight[j], y.second_weight[j], width, mixed);
        line = mixed;
      }
      if (x.moves) METVOX_ISA_CALL(mix_along)
      (line, width, x.first.data(), x.second.data(), x.first_weight.data(), x.second_weight.data(), grid_.size[2], to);
      rows.result[static_cast<size_t>(r)] = x.moves ? to : line;
      if (!planes.halves) continue;
      for (int64_t i = 0; i < grid_.size[2]; ++i)
        to[i] = static_cast<float>(f16(rows.result[static_cast<size_t>(r)][i]));
      rows.result[static_cast<size_t>(r)] = to;
    }
    write_row(grid_.first + slab * grid_.stride[0] + row * grid_.stride[1], rows);
  }
}

void LabelRestorer::write_row(int64_t at, Rows& rows) {
  const int64_t n = grid_.size[2], stride = grid_.stride[2];
  uint8_t* to = labels_.data<uint8_t>() + at;
  decide_(rows.result.data(), n, stride == 1 ? to : rows.voxels.data());
  if (stride != 1)
    for (int64_t i = 0; i < n; ++i) to[i * stride] = rows.voxels[static_cast<size_t>(i)];
  if (!probabilities_) return;
  const int64_t voxels = labels_.size();
  float* p = probabilities_.data<float>() + at;
  for (int64_t i = 0; i < n; ++i) {
    float most = rows.result[0][i], sum = 0;
    for (const float* logit : rows.result) most = std::max(most, logit[i]);
    for (const float* logit : rows.result) sum += std::exp(logit[i] - most);
    for (int64_t r = 0; r < heads_; ++r) {
      const float logit = rows.result[static_cast<size_t>(r)][i];
      p[r * voxels + i * stride] = regions_ ? 1 / (1 + std::exp(-logit)) : std::exp(logit - most) / sum;
    }
  }
}

Tensor restore_labels(const Tensor& logits, const CaseProperties& p, const Plans& plans,
                      const Configuration& configuration, const Labels& labels, Tensor* probabilities) {
  const Shape& n = logits.shape();
  check(n.rank() == 4, "restore_labels: the logits are ", n, ", expected (R, z, y, x)");
  LabelRestorer restorer(file_grid(p, plans, configuration), {n[1], n[2], n[3]}, labels, probabilities != nullptr);
  const bool halves = logits.dtype() == DType::f16;
  Tensor floats = logits;
  if (halves) {
    floats = Tensor::empty(n, DType::f32);
    Stream host;
    convert(host, logits.view(), floats.view());
  }
  restorer.add({floats, 0, n[1], halves});
  if (probabilities) *probabilities = restorer.probabilities();
  return restorer.labels();
}

Tensor restore_maps(const Tensor& maps, const CaseProperties& p, const Plans& plans,
                    const Configuration& configuration) {
  const RestoreGrid grid = file_grid(p, plans, configuration);
  const Int3& n = grid.size;
  const Tensor near = resample_data(maps, n, target_spacing_mm(p, configuration), p.spacing_mm, 1);
  const Tensor out = Tensor::zeros({maps.shape()[0], grid.shape[0], grid.shape[1], grid.shape[2]}, DType::f32);
  const float* from = near.data<float>();
  for (int64_t r = 0; r < maps.shape()[0]; ++r)
    for (int64_t z = 0; z < n[0]; ++z)
      for (int64_t y = 0; y < n[1]; ++y)
        for (int64_t x = 0; x < n[2]; ++x)
          out.data<float>()[r * volume(grid.shape) + grid.first + z * grid.stride[0] + y * grid.stride[1] +
                            x * grid.stride[2]] = *from++;
  return out;
}

}  // namespace metvox
