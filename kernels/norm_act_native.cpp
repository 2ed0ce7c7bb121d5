// SPDX-License-Identifier: Apache-2.0
// Two passes each way over one sample after another, so that a sample that fits in cache is read from there the second
// time. A sample is cut into chunks whose number depends on its size alone; their sums are merged in order: any number
// of threads gives the same bits.
#include "kernels/norm_act_native.h"

#include <cmath>

#include "kernels/convert.h"
#include "kernels/cpu/bits.h"
#include "kernels/norm_act_engines.h"
#include "tensor/threads.h"

namespace metvox::native {
namespace {

constexpr int64_t kMaxChunks = 64, kMinChunkElements = 8192, kGrainElements = 16384;
constexpr int64_t kChunkAlign = 64;  // voxels: rows of several voxels stay whole

template <class T>
class NativeNormAct final : public NormAct {
  using B = Bits<T>;

 public:
  explicit NativeNormAct(const NormActProblem& problem)
      : p_(problem), voxels_(volume(problem.in)), c_(problem.c), negative_slope_(static_cast<float>(problem.slope)) {
    const int64_t smallest = std::max(kMinChunkElements / c_, (voxels_ + kMaxChunks - 1) / kMaxChunks);
    chunk_voxels_ = (smallest + kChunkAlign - 1) / kChunkAlign * kChunkAlign;
    chunks_ = (voxels_ + chunk_voxels_ - 1) / chunk_voxels_;
  }

  size_t forward_scratch_bytes() const override { return bytes(1); }
  size_t backward_scratch_bytes() const override { return bytes(p_.n); }

  void forward(Stream&, View x, View, View gamma, View beta, View y, View saved, void* scratch) const override {
    p_.check_views(x, gamma, beta, y, saved);
    const Scratch s = lay_out(scratch, 1);
    for (int64_t n = 0; n < p_.n; ++n) {
      const B* in = sample<const B>(x, n);
      each_chunk([&](int64_t i, int64_t first, int64_t count) {
        METVOX_ISA_CALL(norm_moments<B>)(in + first * c_, count, c_, s.chunk + 2 * i * c_, s.chunk + (2 * i + 1) * c_);
      });
      statistics(s, gamma.as<float>(), beta.as<float>(), saved.as<float>() + n * c_ * 2);
      B* out = sample<B>(y, n);
      each_chunk([&](int64_t, int64_t first, int64_t count) {
        METVOX_ISA_CALL(norm_apply<B>)(in + first * c_, count, c_, s.constants(c_), negative_slope_, out + first * c_);
      });
    }
  }

  void backward(Stream&, View x, View gamma, View beta, View saved, View dy, View dx, Grad grad, View dgamma,
                View dbeta, Grad parameters, void* scratch) const override {
    p_.check_views(x, gamma, beta, dy, saved);
    const Scratch s = lay_out(scratch, p_.n);
    for (int64_t n = 0; n < p_.n; ++n) {
      const B *in = sample<const B>(x, n), *dout = sample<const B>(dy, n);
      const float* statistic = saved.as<float>() + n * c_ * 2;
      for (int64_t c = 0; c < c_; ++c) {
        s.of_channel[c] = statistic[2 * c];
        s.of_channel[c_ + c] = gamma.as<float>()[c] * statistic[2 * c + 1];
        s.of_channel[2 * c_ + c] = beta.as<float>()[c];
      }
      each_chunk([&](int64_t i, int64_t first, int64_t count) {
        METVOX_ISA_CALL(norm_backward_sums<B>)
        (in + first * c_, dout + first * c_, count, c_, s.constants(c_), negative_slope_, s.chunk + 2 * i * c_,
         s.chunk + (2 * i + 1) * c_);
      });
      gradients(s, statistic, gamma.as<float>(), s.total + n * c_ * 2);
      if (grad == Grad::ignore) continue;
      B* din = sample<B>(dx, n);
      each_chunk([&](int64_t, int64_t first, int64_t count) {
        METVOX_ISA_CALL(norm_backward_apply<B>)
        (in + first * c_, dout + first * c_, count, c_, s.constants(c_), s.gradient(c_), negative_slope_,
         grad == Grad::accumulate, din + first * c_);
      });
    }
    for (int64_t c = 0; c < c_ && parameters != Grad::ignore; ++c) {
      double sum[2] = {};
      for (int64_t n = 0; n < p_.n; ++n)
        for (int k = 0; k < 2; ++k) sum[k] += s.total[(n * c_ + c) * 2 + k];
      put(dbeta.as<float>()[c], sum[0], parameters);
      put(dgamma.as<float>()[c], sum[1], parameters);
    }
  }

 private:
  struct Scratch {
    double* chunk;      // (chunks, 2, C): what the loops sum
    double* total;      // (samples, C, 2): sums of a whole sample
    float* of_channel;  // (5, C): constants of the sample at work
    NormConstants constants(int64_t c) const { return {of_channel, of_channel + c, of_channel + 2 * c}; }
    NormGradient gradient(int64_t c) const { return {of_channel + 3 * c, of_channel + 4 * c}; }
  };
  size_t bytes(int64_t samples) const {
    return static_cast<size_t>(c_) * ((chunks_ + samples) * 2 * sizeof(double) + 5 * sizeof(float));
  }
  Scratch lay_out(void* scratch, int64_t samples) const {
    double* first = static_cast<double*>(scratch);
    double* total = first + chunks_ * 2 * c_;
    return {first, total, reinterpret_cast<float*>(total + samples * 2 * c_)};
  }

  template <class U>
  U* sample(View v, int64_t n) const {
    return reinterpret_cast<U*>(v.as<T>() + n * voxels_ * c_);
  }
  template <class F>
  void each_chunk(F f) const {
    parallel_for(chunks_, std::max<int64_t>(1, kGrainElements / (chunk_voxels_ * c_)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        f(i, i * chunk_voxels_, std::min(chunk_voxels_, voxels_ - i * chunk_voxels_));
    });
  }

  // Chunks' moments to the sample's mean and 1 / deviation, and the constants of norm_apply.
  void statistics(const Scratch& s, const float* gamma, const float* beta, float* saved) const {
    const int64_t group = p_.channels_per_group();
    for (int64_t c0 = 0; c0 < c_; c0 += group) {
      double count = 0, mean = 0, square = 0;
      for (int64_t c = c0; c < c0 + group; ++c)
        for (int64_t i = 0; i < chunks_; ++i) {  // Chan et al. 1979
          const double more = static_cast<double>(std::min(chunk_voxels_, voxels_ - i * chunk_voxels_));
          const double apart = s.chunk[2 * i * c_ + c] - mean, share = more / (count + more);
          mean += apart * share;
          square += s.chunk[(2 * i + 1) * c_ + c] + apart * apart * count * share;
          count += more;
        }
      const double rstd = 1 / std::sqrt(square / count + p_.eps);
      const float center = static_cast<float>(mean);
      for (int64_t c = c0; c < c0 + group; ++c) {
        saved[2 * c] = center;
        saved[2 * c + 1] = static_cast<float>(rstd);
        s.of_channel[c] = center;
        s.of_channel[c_ + c] = static_cast<float>(gamma[c] * rstd);
        s.of_channel[2 * c_ + c] = static_cast<float>(beta[c] - (mean - center) * gamma[c] * rstd);
      }
    }
  }

  // Chunks' sums to the sample's sum of dh and of dh x^ (for dbeta and dgamma), and the constants of
  // norm_backward_apply: dx = rstd (gamma dh - mean(gamma dh) - x^ mean(gamma dh x^)).
  void gradients(const Scratch& s, const float* statistic, const float* gamma, double* total) const {
    const int64_t group = p_.channels_per_group();
    const double elements = static_cast<double>(voxels_ * group);
    for (int64_t c0 = 0; c0 < c_; c0 += group) {
      const double rstd = statistic[2 * c0 + 1];
      double mean[2] = {};
      for (int64_t c = c0; c < c0 + group; ++c) {
        double *dh = total + 2 * c, *dh_x = dh + 1;
        *dh = *dh_x = 0;
        for (int64_t i = 0; i < chunks_; ++i) {
          *dh += s.chunk[2 * i * c_ + c];
          *dh_x += s.chunk[(2 * i + 1) * c_ + c] * rstd;
        }
        mean[0] += gamma[c] * *dh / elements;
        mean[1] += gamma[c] * *dh_x / elements;
      }
      for (int64_t c = c0; c < c0 + group; ++c) {
        s.of_channel[3 * c_ + c] = static_cast<float>(-rstd * rstd * mean[1]);
        s.of_channel[4 * c_ + c] = static_cast<float>(-rstd * mean[0]);
      }
    }
  }

  const NormActProblem p_;
  const int64_t voxels_, c_;
  const float negative_slope_;
  int64_t chunk_voxels_, chunks_;
};

}  // namespace

Engine<NormActProblem, NormAct> norm_act() {
  return {"native", Device::Kind::cpu,
          [](const NormActProblem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "sums within a block run in float";
            return std::nullopt;
          },
          [](const NormActProblem& problem) -> std::unique_ptr<NormAct> {
            problem.validate();
            if (problem.dtype == DType::bf16) return std::make_unique<NativeNormAct<bf16>>(problem);
            return std::make_unique<NativeNormAct<float>>(problem);
          }};
}

}  // namespace metvox::native
