// SPDX-License-Identifier: Apache-2.0
// From logits back to the raw grid, as they come: a few planes are interpolated along z, then row by row along y and x,
// and decided at once. Nothing of heads times native size is ever held, but for probabilities where they are asked for
// (nnU-Net 2.8.1, inference/export_prediction.py).
#pragma once
#include <array>

#include "segmentation/data/decide.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/data/resample.h"

namespace metvox {

// Planes [first, last) of a case's logits f32 (R, z, y, x), on the host. Plane z lies at z % planes of the ring.
struct LogitPlanes {
  Tensor ring;  // f32 (R, planes, y, x)
  int64_t first = 0, last = 0;
  bool halves = false;  // sums of f16: what is interpolated is rounded to f16, as nnU-Net has it
  const float* at(int64_t head, int64_t z) const {
    const Shape& n = ring.shape();
    return ring.data<float>() + (head * n[1] + z % n[1]) * n[2] * n[3];
  }
};

// A grid that logits are brought onto. Axes are those after transpose_forward, unless said.
struct RestoreGrid {
  Int3 size{};        // that the logits' grid becomes
  SeparateZ nearest;  // the axis, if any, that is not interpolated
  Int3 shape{};       // of the result, in its own order of axes
  int64_t first = 0;  // where in the result the first voxel lies
  Int3 stride{};      // in the result
};
// The raw file's.
RestoreGrid file_grid(const CaseProperties& properties, const Plans& plans, const Configuration& configuration);
// Another configuration's, of `shape`: the next stage of a cascade.
RestoreGrid next_stage_grid(const Int3& shape, const CaseProperties& properties, const Configuration& configuration);

class LabelRestorer {
 public:
  // size: of the logits. Outside what they cover, the labels are 0.
  LabelRestorer(const RestoreGrid& grid, const Int3& size, const Labels& labels, bool probabilities = false);
  // All planes of the case, in order, in as many pieces as they come.
  void add(const LogitPlanes& planes);
  // When all have come: u8 of the grid's shape.
  const Tensor& labels() const { return labels_; }
  // f32 (R, ...) of that shape, if asked for: sigmoid or softmax; outside 0, but 1 for the background of a softmax.
  const Tensor& probabilities() const { return probabilities_; }
  // What one of them holds until its end, the results included.
  static size_t bytes(const RestoreGrid& grid, const Int3& size, int64_t heads, bool probabilities);

 private:
  struct Taps {  // AxisTaps as the loops want them
    Taps() = default;
    Taps(const RestoreGrid& grid, const Int3& size, size_t axis);
    std::vector<int32_t> first, second;
    std::vector<float> first_weight, second_weight;
    bool moves = false;  // or is every voxel its own
  };
  struct Rows;
  void restore_rows(const LogitPlanes& planes, int64_t slab, int64_t first, int64_t last, Rows& rows);
  void write_row(int64_t at, Rows& rows);

  RestoreGrid grid_;
  Int3 size_;
  int64_t heads_;
  bool regions_;
  LabelDecision decide_;
  std::array<Taps, 3> taps_;
  Tensor labels_, probabilities_;
  int64_t slab_ = 0;         // the next one to be restored
  int64_t come_ = 0;         // planes so far
  std::vector<float> kept_;  // the last of them, (R, y, x)
};

// All of it at once: logits (R, z, y, x) f32 or f16 as preprocess_case shaped the case.
Tensor restore_labels(const Tensor& logits, const CaseProperties& properties, const Plans& plans,
                      const Configuration& configuration, const Labels& labels, Tensor* probabilities = nullptr);
// Any maps (R, z, y, x) f32 of such a case on the raw file's grid, interpolated as logits are; 0 outside the crop.
Tensor restore_maps(const Tensor& maps, const CaseProperties& properties, const Plans& plans,
                    const Configuration& configuration);

}  // namespace metvox
