// SPDX-License-Identifier: Apache-2.0
// The oracle: every sum and every product in double, whatever the type in memory; two passes over each group.
#include <cmath>

#include "kernels/convert.h"
#include "kernels/norm_act_engines.h"
#include "tensor/threads.h"

namespace metvox::reference {
namespace {

template <class T>
class ReferenceNormAct final : public NormAct {
  using M = Master<T>;

 public:
  explicit ReferenceNormAct(const NormActProblem& problem)
      : p_(problem), voxels_(volume(problem.in)), group_(problem.channels_per_group()) {}

  size_t backward_scratch_bytes() const override { return sizeof(Sums) * p_.n * p_.c; }

  void forward(Stream&, View x, View, View gamma, View beta, View y, View saved, void*) const override {
    p_.check_views(x, gamma, beta, y, saved);
    const T* in = x.as<T>();
    T* out = y.as<T>();
    const M *scale = gamma.as<M>(), *shift = beta.as<M>();
    each_group([&](int64_t n, int64_t c0) {
      double mean = 0, variance = 0;
      each_element(n, c0, [&](int64_t i, int64_t) { mean += to_double(in[i]); });
      mean /= elements();
      each_element(n, c0,
                   [&](int64_t i, int64_t) { variance += (to_double(in[i]) - mean) * (to_double(in[i]) - mean); });
      variance /= elements();
      const double rstd = 1 / std::sqrt(variance + p_.eps);
      for (int64_t c = c0; c < c0 + group_; ++c) {
        saved.as<M>()[(n * p_.c + c) * 2] = static_cast<M>(mean);
        saved.as<M>()[(n * p_.c + c) * 2 + 1] = static_cast<M>(rstd);
      }
      each_element(n, c0, [&](int64_t i, int64_t c) {
        const double h = (to_double(in[i]) - mean) * rstd * scale[c] + shift[c];
        out[i] = from_double<T>(h > 0 ? h : p_.slope * h);
      });
    });
  }

  // With dh = dL/dh and x^ = (x - mean) rstd:  dx = rstd (gamma dh - mean(gamma dh) - x^ mean(gamma dh x^)).
  void backward(Stream&, View x, View gamma, View beta, View saved, View dy, View dx, Grad grad, View dgamma,
                View dbeta, Grad parameters, void* scratch) const override {
    p_.check_views(x, gamma, beta, dy, saved);
    const T *in = x.as<T>(), *dout = dy.as<T>();
    const M *scale = gamma.as<M>(), *shift = beta.as<M>(), *statistics = saved.as<M>();
    Sums* sums = static_cast<Sums*>(scratch);
    each_group([&](int64_t n, int64_t c0) {
      const double mean = statistics[(n * p_.c + c0) * 2], rstd = statistics[(n * p_.c + c0) * 2 + 1];
      const auto normalised = [&](int64_t i) { return (to_double(in[i]) - mean) * rstd; };
      const auto dh = [&](int64_t i, int64_t c) {
        return to_double(dout[i]) * (normalised(i) * scale[c] + shift[c] > 0 ? 1 : p_.slope);
      };
      for (int64_t c = c0; c < c0 + group_; ++c) sums[n * p_.c + c] = {};
      each_element(n, c0, [&](int64_t i, int64_t c) {
        sums[n * p_.c + c].dh += dh(i, c);
        sums[n * p_.c + c].dh_x += dh(i, c) * normalised(i);
      });
      if (grad == Grad::ignore) return;
      Sums mean_of{};
      for (int64_t c = c0; c < c0 + group_; ++c) {
        mean_of.dh += scale[c] * sums[n * p_.c + c].dh / elements();
        mean_of.dh_x += scale[c] * sums[n * p_.c + c].dh_x / elements();
      }
      T* din = dx.as<T>();
      each_element(n, c0, [&](int64_t i, int64_t c) {
        put(din[i], rstd * (scale[c] * dh(i, c) - mean_of.dh - normalised(i) * mean_of.dh_x), grad);
      });
    });
    if (parameters == Grad::ignore) return;
    for (int64_t c = 0; c < p_.c; ++c) {
      Sums of_channel{};
      for (int64_t n = 0; n < p_.n; ++n) {
        of_channel.dh += sums[n * p_.c + c].dh;
        of_channel.dh_x += sums[n * p_.c + c].dh_x;
      }
      put(dgamma.as<M>()[c], of_channel.dh_x, parameters);
      put(dbeta.as<M>()[c], of_channel.dh, parameters);
    }
  }

 private:
  struct Sums {
    double dh = 0, dh_x = 0;
  };
  double elements() const { return static_cast<double>(voxels_ * group_); }

  template <class F>
  void each_group(F f) const {
    const int64_t groups = p_.c / group_;
    parallel_for(p_.n * groups, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) f(i / groups, i % groups * group_);
    });
  }
  template <class F>
  void each_element(int64_t n, int64_t c0, F f) const {
    for (int64_t v = 0; v < voxels_; ++v)
      for (int64_t c = c0; c < c0 + group_; ++c) f((n * voxels_ + v) * p_.c + c, c);
  }

  const NormActProblem p_;
  const int64_t voxels_, group_;
};

}  // namespace

Engine<NormActProblem, NormAct> norm_act() {
  return {"reference", Device::Kind::cpu, never<NormActProblem>, [](const NormActProblem& problem) {
            problem.validate();
            return dispatch_float(problem.dtype, [&]<class T>() -> std::unique_ptr<NormAct> {
              return std::make_unique<ReferenceNormAct<T>>(problem);
            });
          }};
}

}  // namespace metvox::reference
