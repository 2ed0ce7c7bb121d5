// SPDX-License-Identifier: Apache-2.0
// Engine `reference` of conv3d: the definition as loops, every element gathered by itself, sums in double. The oracle.
#include <cstring>

#include "kernels/conv3d_engines.h"
#include "kernels/conv3d_voxels.h"
#include "kernels/convolution_reference.h"
#include "tensor/threads.h"

namespace metvox::reference {
namespace {

// Two channels-last images as if concatenated.
template <class T>
struct Pair {
  Pair(const View& a, const View& b, const Conv3dProblem& p)
      : first(a ? a.as<T>() : nullptr), second(b ? b.as<T>() : nullptr), c(p.c), c2(p.c2) {}
  T* at(int64_t voxel, int64_t channel) const {
    return channel < c ? first + voxel * c + channel : second + voxel * c2 + channel - c;
  }
  T* first;
  T* second;
  int64_t c, c2;
};

class Forward final : public Conv3dForward {
 public:
  explicit Forward(const Conv3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return weight_bytes() + static_cast<size_t>(p_.k) * size_of(p_.master()); }

  void pack(Stream&, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    std::memcpy(packed, w.data, weight_bytes());
    if (p_.bias) std::memcpy(static_cast<char*>(packed) + weight_bytes(), b.data, b.bytes());
  }

  void run(Stream&, View x, View x2, const void* packed, View y, void*) const override {
    p_.check_activations(x, x2, y);
    dispatch_float(p_.dtype,
                   [&]<class T>() { loop<T>(Pair<T>(x, x2, p_), static_cast<const Master<T>*>(packed), y.as<T>()); });
  }

 private:
  size_t weight_bytes() const { return static_cast<size_t>(p_.w_shape().size()) * size_of(p_.master()); }

  template <class T>
  void loop(const Pair<T>& x, const Master<T>* w, T* y) const {
    const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2, voxels = volume(p_.out());
    const Master<T>* b = w + p_.k * channels * taps;
    parallel_for(p_.n * voxels, 1, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        const Int3 o = position(v % voxels, p_.out());
        for (int64_t k = 0; k < p_.k; ++k) {
          double sum = p_.bias ? to_double(b[k]) : 0.0;
          for (int64_t t = 0; t < taps; ++t) {
            const int64_t i = input_voxel(p_, o, position(t, p_.kernel));
            if (i < 0) continue;
            const int64_t voxel = v / voxels * volume(p_.in) + i;
            for (int64_t c = 0; c < channels; ++c)
              sum += to_double(*x.at(voxel, c)) * to_double(w[(k * channels + c) * taps + t]);
          }
          y[v * p_.k + k] = from_double<T>(sum);
        }
      }
    });
  }

  Conv3dProblem p_;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return static_cast<size_t>(p_.w_shape().size()) * size_of(p_.master()); }
  bool accumulates() const override { return true; }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    std::memcpy(packed, w.data, w.bytes());
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2, void*) const override {
    p_.check_activations(dx, dx2, dy);
    dispatch_float(p_.dtype, [&]<class T>() {
      const auto* w = static_cast<const Master<T>*>(packed);
      const Pair<T> out(dx, dx2, p_);
      if (grad != Grad::ignore) loop<T>(dy.as<T>(), w, out, 0, p_.c, grad);
      if (grad2 != Grad::ignore) loop<T>(dy.as<T>(), w, out, p_.c, p_.c + p_.c2, grad2);
    });
  }

 private:
  template <class T>
  void loop(const T* dy, const Master<T>* w, const Pair<T>& dx, int64_t begin, int64_t end, Grad grad) const {
    const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2, voxels = volume(p_.in);
    const Int3 out = p_.out();
    parallel_for(p_.n * voxels, 1, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        const Int3 i = position(v % voxels, p_.in);
        for (int64_t c = begin; c < end; ++c) {
          double sum = 0;
          for (int64_t t = 0; t < taps; ++t) {
            const int64_t o = output_voxel(p_, out, i, position(t, p_.kernel));
            if (o < 0) continue;
            const T* dy_row = dy + (v / voxels * volume(out) + o) * p_.k;
            for (int64_t k = 0; k < p_.k; ++k)
              sum += to_double(dy_row[k]) * to_double(w[(k * channels + c) * taps + t]);
          }
          put(*dx.at(v, c), sum, grad);
        }
      }
    });
  }

  Conv3dProblem p_;
};

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p) : p_(p) {}

  void run(Stream&, View x, View x2, View dy, View dw, View db, Grad grad, void*) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    dispatch_float(p_.dtype, [&]<class T>() {
      loop<T>(Pair<T>(x, x2, p_), dy.as<T>(), dw.as<Master<T>>(), grad);
      if (p_.bias) sum_bias<T>(dy.as<T>(), p_.n * volume(p_.out()), p_.k, db.as<Master<T>>(), grad);
    });
  }

 private:
  template <class T>
  void loop(const Pair<T>& x, const T* dy, Master<T>* dw, Grad grad) const {
    const Int3 out = p_.out();
    const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2, voxels = volume(out);
    parallel_for(p_.k * channels * taps, 1, [&](int64_t first, int64_t last) {
      for (int64_t at = first; at < last; ++at) {
        const int64_t k = at / (channels * taps), c = at / taps % channels;
        const Int3 t = position(at % taps, p_.kernel);
        double sum = 0;
        for (int64_t v = 0; v < p_.n * voxels; ++v) {
          const int64_t i = input_voxel(p_, position(v % voxels, out), t);
          if (i >= 0) sum += to_double(dy[v * p_.k + k]) * to_double(*x.at(v / voxels * volume(p_.in) + i, c));
        }
        put(dw[at], sum, grad);
      }
    });
  }

  Conv3dProblem p_;
};

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() {
  return convolution_engine<Conv3dProblem, Conv3dForward, Forward>();
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() {
  return convolution_engine<Conv3dProblem, Conv3dBackwardData, BackwardData>();
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return convolution_engine<Conv3dProblem, Conv3dBackwardWeights, BackwardWeights>();
}

}  // namespace metvox::reference
