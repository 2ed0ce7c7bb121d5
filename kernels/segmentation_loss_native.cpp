// SPDX-License-Identifier: Apache-2.0
// Samples are cut into chunks of rows whose number depends on the problem alone; their sums are added in order: any
// number of threads gives the same bits. At full resolution labels are read where they lie, at others they are gathered
// row by row.
#include "kernels/segmentation_loss_native.h"

#include <array>

#include "kernels/convert.h"
#include "kernels/cpu/bits.h"
#include "kernels/segmentation_loss_engines.h"
#include "tensor/threads.h"

namespace metvox::native {
namespace {

constexpr int64_t kMaxChunks = 64, kGatherVoxels = 4096, kGrainVoxels = 4096;

template <class T>
class NativeLoss final : public SegmentationLossKernel {
  using B = Bits<T>;

 public:
  explicit NativeLoss(const SegmentationLossProblem& problem)
      : q_(problem), r_(problem.heads.count), voxels_(volume(problem.extent)) {
    heads_.count = q_.heads.count;
    heads_.softmax = q_.softmax;
    heads_.positive_weight = static_cast<float>(q_.positive_weight);
    for (int label = 0; label < 256; ++label) {
      heads_.heads_of[label] = 0;
      heads_.counts[label] = label == q_.ignore_label ? 0 : 1;
      for (int r = 0; r < r_ && label != q_.ignore_label; ++r)
        if (q_.heads.contains(r, static_cast<uint8_t>(label))) heads_.heads_of[label] |= uint64_t{1} << r;
    }
    chunk_voxels_ = std::max(kGrainVoxels, (voxels_ + kMaxChunks - 1) / kMaxChunks);
    chunks_ = (voxels_ + chunk_voxels_ - 1) / chunk_voxels_;
  }

  size_t scratch_bytes() const override {
    return static_cast<size_t>(q_.n) *
           std::max(chunks_ * (r_ * q_.kPerHead + 2) * sizeof(double), r_ * 2 * sizeof(float));
  }

  void sums(Stream&, View logits, View labels, double* sums, void* scratch) const override {
    q_.check_views(logits, labels);
    const int64_t row = r_ * q_.kPerHead + 2;
    double* partial = static_cast<double*>(scratch);  // (samples, chunks, row)
    const B* z = bits<T>(logits);
    std::fill_n(partial, q_.n * chunks_ * row, 0.0);
    each_piece(labels, [&](int64_t chunk, int64_t voxel, int64_t count, const uint8_t* label) {
      METVOX_ISA_CALL(loss_sums<B>)(z + voxel * r_, label, count, heads_, partial + chunk * row);
    });
    std::fill_n(sums, q_.sums_count(), 0.0);
    double* of_voxels = sums + q_.n * r_ * q_.kPerHead;
    for (int64_t chunk = 0; chunk < q_.n * chunks_; ++chunk) {
      const double* from = partial + chunk * row;
      for (int64_t i = 0; i < r_ * q_.kPerHead; ++i) sums[chunk / chunks_ * r_ * q_.kPerHead + i] += from[i];
      for (int k = 0; k < 2; ++k) of_voxels[k] += from[r_ * q_.kPerHead + k];
    }
  }

  void gradient(Stream&, View logits, View labels, const double* coefficients, View dy, View dlogits, Grad grad,
                void* scratch) const override {
    if (grad == Grad::ignore) return;
    q_.check_views(logits, labels);
    const auto times = static_cast<double>(dy.as<float>()[0]);
    float* of_heads = static_cast<float*>(scratch);
    for (int64_t i = 0; i < q_.n * r_ * 2; ++i) of_heads[i] = static_cast<float>(times * coefficients[i]);
    const auto voxel_weight = static_cast<float>(times * coefficients[q_.n * r_ * 2]);
    const B* z = bits<T>(logits);
    B* dz = bits<T>(dlogits);
    each_piece(labels, [&](int64_t chunk, int64_t voxel, int64_t count, const uint8_t* label) {
      METVOX_ISA_CALL(loss_gradient<B>)
      (z + voxel * r_, label, count, heads_, of_heads + chunk / chunks_ * r_ * 2, voxel_weight,
       grad == Grad::accumulate, dz + voxel * r_);
    });
  }

 private:
  // f(chunk, first voxel, count, their labels) for pieces of all chunks of all samples; voxels counted over the batch.
  template <class F>
  void each_piece(View labels, F f) const {
    const uint8_t* map = labels.as<uint8_t>();
    const bool whole = q_.extent == q_.label_extent;
    parallel_for(q_.n * chunks_, std::max<int64_t>(1, kGrainVoxels / chunk_voxels_), [&](int64_t begin, int64_t end) {
      std::array<uint8_t, kGatherVoxels> gathered;
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t n = chunk / chunks_, first = chunk % chunks_ * chunk_voxels_;
        const int64_t last = std::min(voxels_, first + chunk_voxels_), step = whole ? chunk_voxels_ : kGatherVoxels;
        for (int64_t v = first; v < last; v += step) {
          const int64_t count = std::min(step, last - v);
          if (!whole) gather(map + n * volume(q_.label_extent), v, count, gathered.data());
          f(chunk, n * voxels_ + v, count, whole ? map + n * voxels_ + v : gathered.data());
        }
      }
    });
  }

  void gather(const uint8_t* map, int64_t first, int64_t count, uint8_t* to) const {
    const Int3& e = q_.extent;
    for (int64_t v = first; v < first + count;) {
      const int64_t d = v / (e[1] * e[2]), h = v / e[2] % e[1], w = v % e[2],
                    run = std::min(e[2] - w, first + count - v);
      const uint8_t* row =
          map + (q_.label_index(0, d) * q_.label_extent[1] + q_.label_index(1, h)) * q_.label_extent[2];
      for (int64_t i = 0; i < run; ++i) to[v - first + i] = row[q_.label_index(2, w + i)];
      v += run;
    }
  }

  const SegmentationLossProblem q_;
  const int64_t r_, voxels_;
  LossHeads heads_{};
  int64_t chunk_voxels_, chunks_;
};

}  // namespace

Engine<SegmentationLossProblem, SegmentationLossKernel> segmentation_loss() {
  return {"native", Device::Kind::cpu,
          [](const SegmentationLossProblem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "sums within a block run in float";
            return std::nullopt;
          },
          [](const SegmentationLossProblem& problem) -> std::unique_ptr<SegmentationLossKernel> {
            problem.validate();
            if (problem.dtype == DType::bf16) return std::make_unique<NativeLoss<bf16>>(problem);
            return std::make_unique<NativeLoss<float>>(problem);
          }};
}

}  // namespace metvox::native
