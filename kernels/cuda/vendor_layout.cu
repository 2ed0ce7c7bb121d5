// SPDX-License-Identifier: Apache-2.0
// One element a thread: weights are small, and a bias on its own is the exception. Not yet run on hardware.
#include "kernels/cuda/vendor_layout.h"

#include "kernels/cuda/for_each.h"
#include "kernels/cuda/pixel_gemm.h"
#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// Where the i-th element of the filter (channels fastest) lies in w.
struct FilterOrder {
  int64_t channels, taps, all_channels, first;
  METVOX_DEVICE int64_t operator()(int64_t i) const {
    const int64_t c = i % channels, tap = i / channels % taps, k = i / channels / taps;
    return (k * all_channels + first + c) * taps + tap;
  }
};
FilterOrder order_of(const View& w, int64_t first, const View& filter) {
  check(first >= 0 && first + filter.shape[1] <= w.shape[1] && w.shape[0] == filter.shape[0], "filter: ", filter.shape,
        " of ", w.shape);
  return {filter.shape[1], w.size() / w.shape[0] / w.shape[1], w.shape[1], first};
}

template <class T>
struct TakeFilter {
  FilterOrder order;
  const float* w;
  T* to;
  METVOX_DEVICE void operator()(int64_t i) const { to[i] = from_float<T>(w[order(i)]); }
};

template <class T>
struct GiveFilter {
  FilterOrder order;
  const T* from;
  float* w;
  bool adds;
  METVOX_DEVICE void operator()(int64_t i) const {
    const int64_t at = order(i);
    w[at] = (adds ? w[at] : 0.0f) + to_float(from[i]);
  }
};

template <class T>
struct AddBias {
  const float* b;
  T* y;
  int64_t channels;
  METVOX_DEVICE void operator()(int64_t i) const { y[i] = from_float<T>(to_float(y[i]) + b[i % channels]); }
};

ChannelSums sums_of(const View& dy) { return {dy.dtype, dy.size() / dy.shape[1], dy.shape[1]}; }

}  // namespace

void take_filter(Stream& stream, View w, int64_t first, View to) {
  const FilterOrder order = order_of(w, first, to);
  dispatch_type(to.dtype, [&]<class T>() {
    for_each(stream, to.size(), TakeFilter<T>{order, w.as<float>(), to.as<T>()});
  });
}

void give_filter(Stream& stream, View from, View w, int64_t first, Grad grad) {
  if (grad == Grad::ignore) return;
  const FilterOrder order = order_of(w, first, from);
  dispatch_type(from.dtype, [&]<class T>() {
    for_each(stream, from.size(), GiveFilter<T>{order, from.as<T>(), w.as<float>(), grad == Grad::accumulate});
  });
}

void add_bias(Stream& stream, View b, View y) {
  check(b.size() == y.shape[1], "bias: ", b.shape, " for ", y.shape);
  dispatch_type(y.dtype, [&]<class T>() {
    for_each(stream, y.size(), AddBias<T>{b.as<float>(), y.as<T>(), y.shape[1]});
  });
}

size_t bias_gradient_scratch(const View& dy) { return sums_of(dy).scratch_bytes(); }

void bias_gradient(Stream& stream, View dy, View db, Grad grad, void* scratch) {
  check(db.size() == dy.shape[1], "bias: ", db.shape, " for ", dy.shape);
  if (grad != Grad::ignore) sums_of(dy).run(stream, dy.data, db.as<float>(), grad, scratch);
}

}  // namespace metvox::METVOX_KERNEL_NS
