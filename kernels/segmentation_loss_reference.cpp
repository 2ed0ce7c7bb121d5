// SPDX-License-Identifier: Apache-2.0
// The oracle: one voxel at a time, in double.
#include <cmath>

#include "kernels/convert.h"
#include "kernels/segmentation_loss_engines.h"
#include "tensor/threads.h"

namespace metvox::reference {
namespace {

// One voxel: logits z, probabilities p, truth g of each head.
struct Voxel {
  std::array<double, RegionTable::kMaxHeads> z, p, g;
  int decided = 0;     // arg-max of z
  double log_sum = 0;  // log sum exp z
};

template <class T>
class ReferenceLoss final : public SegmentationLossKernel {
 public:
  explicit ReferenceLoss(const SegmentationLossProblem& problem) : q_(problem), heads_(problem.heads.count) {}

  size_t scratch_bytes() const override {
    return static_cast<size_t>(std::max(q_.n * 2, q_.coefficients_count())) * sizeof(double);
  }

  void sums(Stream&, View logits, View labels, double* sums, void* scratch) const override {
    q_.check_views(logits, labels);
    double* voxel_sums = static_cast<double*>(scratch);  // of each sample: sum, number of summands
    parallel_for(q_.n, 1, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        double *of_heads = sums + n * heads_ * q_.kPerHead, *of_voxels = voxel_sums + n * 2;
        std::fill_n(of_heads, heads_ * q_.kPerHead, 0.0);
        std::fill_n(of_voxels, 2, 0.0);
        each_voxel(
            n, logits, labels, [&](int64_t, const Voxel& x) { add(x, of_heads, of_voxels); }, [](int64_t) {});
      }
    });
    double* total = sums + q_.n * heads_ * q_.kPerHead;
    total[0] = total[1] = 0;
    for (int64_t n = 0; n < q_.n; ++n)
      for (int k = 0; k < 2; ++k) total[k] += voxel_sums[n * 2 + k];
  }

  void gradient(Stream&, View logits, View labels, const double* coefficients, View dy, View dlogits, Grad grad,
                void* scratch) const override {
    if (grad == Grad::ignore) return;
    q_.check_views(logits, labels);
    T* to = dlogits.as<T>();
    double* scaled = static_cast<double*>(scratch);
    for (int64_t i = 0; i < q_.coefficients_count(); ++i)
      scaled[i] = coefficients[i] * to_double(dy.as<Master<T>>()[0]);
    const double voxel_weight = scaled[q_.coefficients_count() - 1];
    parallel_for(q_.n, 1, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        const double* c = scaled + n * heads_ * 2;
        const auto valid = [&](int64_t i, const Voxel& x) {
          for (int r = 0; r < heads_; ++r)
            put(to[i + r],
                q_.softmax ? softmax_gradient(x, r, c, voxel_weight) : sigmoid_gradient(x, r, c, voxel_weight), grad);
        };
        each_voxel(n, logits, labels, valid, [&](int64_t i) {
          for (int r = 0; r < heads_; ++r) put(to[i + r], 0, grad);
        });
      }
    });
  }

 private:
  // valid(index of the first logit, voxel) or ignored(index).
  template <class Valid, class Ignored>
  void each_voxel(int64_t n, View logits, View labels, Valid valid, Ignored ignored) const {
    const T* z = logits.as<T>();
    const Int3 &e = q_.extent, &full = q_.label_extent;
    int64_t i = n * volume(e) * heads_;
    for (int64_t d = 0; d < e[0]; ++d)
      for (int64_t h = 0; h < e[1]; ++h)
        for (int64_t w = 0; w < e[2]; ++w, i += heads_) {
          const int64_t row = (n * full[0] + q_.label_index(0, d)) * full[1] + q_.label_index(1, h);
          const uint8_t label = labels.as<uint8_t>()[row * full[2] + q_.label_index(2, w)];
          label == q_.ignore_label ? ignored(i) : valid(i, voxel(z + i, label));
        }
  }

  Voxel voxel(const T* logits, uint8_t label) const {
    Voxel x;
    for (int r = 0; r < heads_; ++r) {
      x.z[r] = to_double(logits[r]);
      x.g[r] = q_.heads.contains(r, label) ? 1 : 0;
      x.p[r] = x.z[r] >= 0 ? 1 / (1 + std::exp(-x.z[r])) : std::exp(x.z[r]) / (1 + std::exp(x.z[r]));
      if (x.z[r] > x.z[x.decided]) x.decided = r;
    }
    if (!q_.softmax) return x;
    const double top = x.z[x.decided];
    double others = 0;  // apart from the largest, so that a sure voxel keeps its digits
    for (int r = 0; r < heads_; ++r) others += r == x.decided ? 0 : std::exp(x.z[r] - top);
    x.log_sum = top + std::log1p(others);
    for (int r = 0; r < heads_; ++r) x.p[r] = std::exp(x.z[r] - top) / (1 + others);
    return x;
  }

  void add(const Voxel& x, double* of_heads, double* of_voxels) const {
    bool has_head = false;
    for (int r = 0; r < heads_; ++r) {
      const double z = x.z[r], g = x.g[r], hit = (q_.softmax ? r == x.decided : z > 0) ? 1 : 0;
      const double terms[] = {x.p[r] * g, x.p[r], g, hit * g, hit * (1 - g), (1 - hit) * g};
      for (int k = 0; k < q_.kPerHead; ++k) of_heads[r * q_.kPerHead + k] += terms[k];
      if (q_.softmax) of_voxels[0] += g * (x.log_sum - z);
      else
        of_voxels[0] += (1 + q_.positive_weight * g) * (std::max(z, 0.0) - z * g + std::log1p(std::exp(-std::abs(z))));
      has_head |= g > 0;
    }
    of_voxels[1] += q_.softmax ? has_head : heads_;
  }

  double sigmoid_gradient(const Voxel& x, int r, const double* c, double voxel_weight) const {
    const double p = x.p[r], g = x.g[r];
    return (c[2 * r] * g + c[2 * r + 1]) * p * (1 - p) + voxel_weight * (1 + q_.positive_weight * g) * (p - g);
  }
  // dL/dp_k = c_k g_k + c'_k through the Jacobian dp_k/dz_r = p_k (delta_kr - p_r), and the voxel term.
  double softmax_gradient(const Voxel& x, int r, const double* c, double voxel_weight) const {
    double mean = 0, truths = 0;
    for (int k = 0; k < heads_; ++k) {
      mean += x.p[k] * (c[2 * k] * x.g[k] + c[2 * k + 1]);
      truths += x.g[k];
    }
    return x.p[r] * (c[2 * r] * x.g[r] + c[2 * r + 1] - mean) + voxel_weight * (truths * x.p[r] - x.g[r]);
  }

  const SegmentationLossProblem q_;
  const int heads_;
};

}  // namespace

Engine<SegmentationLossProblem, SegmentationLossKernel> segmentation_loss() {
  return {"reference", Device::Kind::cpu, never<SegmentationLossProblem>, [](const SegmentationLossProblem& problem) {
            problem.validate();
            return dispatch_float(problem.dtype, [&]<class T>() -> std::unique_ptr<SegmentationLossKernel> {
              return std::make_unique<ReferenceLoss<T>>(problem);
            });
          }};
}

}  // namespace metvox::reference
