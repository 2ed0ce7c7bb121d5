// SPDX-License-Identifier: Apache-2.0
// Engine `reference` of conv_transpose3d: the definition as loops, sums in double. The oracle.
#include <cstring>

#include "kernels/conv_transpose3d_engines.h"
#include "kernels/convolution_reference.h"
#include "tensor/threads.h"

namespace metvox::reference {
namespace {

// Where output voxel v of the batch comes from: one input voxel through one tap.
struct Origin {
  Origin(const ConvTranspose3dProblem& p, int64_t v) {
    const Int3 out = p.out(), &s = p.stride;
    const int64_t w = v % out[2], h = v / out[2] % out[1], d = v / (out[2] * out[1]) % out[0], n = v / volume(out);
    voxel = ((n * p.in[0] + d / s[0]) * p.in[1] + h / s[1]) * p.in[2] + w / s[2];
    tap = (d % s[0] * s[1] + h % s[1]) * s[2] + w % s[2];
  }
  int64_t voxel, tap;
};

// The output voxel under tap t of input voxel v of the batch.
int64_t output_voxel(const ConvTranspose3dProblem& p, int64_t v, int64_t t) {
  const Int3 out = p.out(), &s = p.stride;
  const int64_t w = v % p.in[2] * s[2] + t % s[2], h = v / p.in[2] % p.in[1] * s[1] + t / s[2] % s[1];
  const int64_t d = v / (p.in[2] * p.in[1]) * s[0] + t / (s[2] * s[1]);  // the batch is in front of the depth
  return (d * out[1] + h) * out[2] + w;
}

class Forward final : public ConvTranspose3dForward {
 public:
  explicit Forward(const ConvTranspose3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return weight_bytes() + static_cast<size_t>(p_.k) * size_of(p_.master()); }

  void pack(Stream&, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    std::memcpy(packed, w.data, weight_bytes());
    if (p_.bias) std::memcpy(static_cast<char*>(packed) + weight_bytes(), b.data, b.bytes());
  }

  void run(Stream&, View x, const void* packed, View y, void*) const override {
    p_.check_activations(x, y);
    dispatch_float(p_.dtype, [&]<class T>() { loop<T>(x.as<T>(), static_cast<const Master<T>*>(packed), y.as<T>()); });
  }

 private:
  size_t weight_bytes() const { return static_cast<size_t>(p_.w_shape().size()) * size_of(p_.master()); }

  template <class T>
  void loop(const T* x, const Master<T>* w, T* y) const {
    const int64_t taps = volume(p_.stride);
    const Master<T>* b = w + p_.c * p_.k * taps;
    parallel_for(p_.n * volume(p_.out()), 1, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        const Origin from(p_, v);
        for (int64_t k = 0; k < p_.k; ++k) {
          double sum = p_.bias ? to_double(b[k]) : 0.0;
          for (int64_t c = 0; c < p_.c; ++c)
            sum += to_double(x[from.voxel * p_.c + c]) * to_double(w[(c * p_.k + k) * taps + from.tap]);
          y[v * p_.k + k] = from_double<T>(sum);
        }
      }
    });
  }

  ConvTranspose3dProblem p_;
};

class BackwardData final : public ConvTranspose3dBackwardData {
 public:
  explicit BackwardData(const ConvTranspose3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return static_cast<size_t>(p_.w_shape().size()) * size_of(p_.master()); }
  bool accumulates() const override { return true; }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    std::memcpy(packed, w.data, w.bytes());
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, void*) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(dx, dy);
    dispatch_float(p_.dtype,
                   [&]<class T>() { loop<T>(dy.as<T>(), static_cast<const Master<T>*>(packed), dx.as<T>(), grad); });
  }

 private:
  template <class T>
  void loop(const T* dy, const Master<T>* w, T* dx, Grad grad) const {
    const int64_t taps = volume(p_.stride);
    parallel_for(p_.n * volume(p_.in), 1, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v)
        for (int64_t c = 0; c < p_.c; ++c) {
          double sum = 0;
          for (int64_t t = 0; t < taps; ++t) {
            const T* dy_row = dy + output_voxel(p_, v, t) * p_.k;
            for (int64_t k = 0; k < p_.k; ++k) sum += to_double(dy_row[k]) * to_double(w[(c * p_.k + k) * taps + t]);
          }
          put(dx[v * p_.c + c], sum, grad);
        }
    });
  }

  ConvTranspose3dProblem p_;
};

class BackwardWeights final : public ConvTranspose3dBackwardWeights {
 public:
  explicit BackwardWeights(const ConvTranspose3dProblem& p) : p_(p) {}

  void run(Stream&, View x, View dy, View dw, View db, Grad grad, void*) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, dy);
    p_.check_weights(dw, db);
    dispatch_float(p_.dtype, [&]<class T>() {
      loop<T>(x.as<T>(), dy.as<T>(), dw.as<Master<T>>(), grad);
      if (p_.bias) sum_bias<T>(dy.as<T>(), p_.n * volume(p_.out()), p_.k, db.as<Master<T>>(), grad);
    });
  }

 private:
  template <class T>
  void loop(const T* x, const T* dy, Master<T>* dw, Grad grad) const {
    const int64_t taps = volume(p_.stride);
    parallel_for(p_.c * p_.k * taps, 1, [&](int64_t first, int64_t last) {
      for (int64_t at = first; at < last; ++at) {
        const int64_t c = at / (p_.k * taps), k = at / taps % p_.k, t = at % taps;
        double sum = 0;
        for (int64_t v = 0; v < p_.n * volume(p_.in); ++v)
          sum += to_double(x[v * p_.c + c]) * to_double(dy[output_voxel(p_, v, t) * p_.k + k]);
        put(dw[at], sum, grad);
      }
    });
  }

  ConvTranspose3dProblem p_;
};

}  // namespace

Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward() {
  return convolution_engine<ConvTranspose3dProblem, ConvTranspose3dForward, Forward>();
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data() {
  return convolution_engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData, BackwardData>();
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights() {
  return convolution_engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights, BackwardWeights>();
}

}  // namespace metvox::reference
