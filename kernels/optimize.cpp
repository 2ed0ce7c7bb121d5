// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimize.h"

#include "kernels/cuda/optimize.h"
#include "kernels/optimize_loops.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

int64_t total(std::span<const Range> ranges) {
  int64_t sum = 0;
  for (const Range& r : ranges) sum += r.count;
  return sum;
}

void check_ranges(const char* op, View w, std::span<const Range> ranges) {
  for (const Range& r : ranges)
    check(r.first >= 0 && r.count >= 0 && r.first + r.count <= w.size(), op, ": range ", r.first, " + ", r.count,
          " leaves a buffer of ", w.size());
}

template <class F>
void for_ranges(std::span<const Range> ranges, F f) {
  parallel_for(total(ranges), 16384,
               [&](int64_t first, int64_t last) { walk(ranges.data(), std::ssize(ranges), first, last, f); });
}

template <class T>
double squared_norm(const T* g, int64_t begin, int64_t end) {
  constexpr int kLanes = 16;  // enough additions under way to be bound by memory
  double lane[kLanes] = {};
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lane[k] += static_cast<double>(g[i + k]) * static_cast<double>(g[i + k]);
  double sum = 0;
  for (; i < end; ++i) sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  for (double s : lane) sum += s;
  return sum;
}

template <class F>
void dispatch_master(const char* op, DType dtype, F f) {
  check(dtype == DType::f32 || dtype == DType::f64, op, ": ", name_of(dtype), " is not f32 or f64");
  dtype == DType::f64 ? f.template operator()<double>() : f.template operator()<float>();
}

}  // namespace

void measure_gradients(Stream& stream, View g, std::span<const Range> ranges, const StepRules& rules,
                       StepControl* control) {
  check_ranges("measure_gradients", g, ranges);
  METVOX_ON_DEVICE(stream, measure_gradients(stream, g, ranges, rules, control))
  constexpr int64_t kPieces = StepControl::kPieces;  // whatever the number of threads: the same bits
  const int64_t n = total(ranges);
  dispatch_master("measure_gradients", g.dtype, [&]<class T>() {
    const T* data = g.as<T>();
    parallel_for(kPieces, std::max<int64_t>(1, kPieces * 16384 / std::max<int64_t>(1, n)),
                 [&](int64_t first, int64_t last) {
                   for (int64_t p = first; p < last; ++p) {
                     double& piece = control->piece[p] = 0;
                     walk(ranges.data(), std::ssize(ranges), n * p / kPieces, n * (p + 1) / kPieces,
                          [&](int64_t begin, int64_t end) { piece += squared_norm(data, begin, end); });
                   }
                 });
  });
  decide_step(*control, rules);
}

void sgd_nesterov(Stream& stream, View w, View g, View v, std::span<const Range> ranges, const SgdNesterov& o,
                  const StepControl* control) {
  check_ranges("sgd_nesterov", w, ranges);
  METVOX_ON_DEVICE(stream, sgd_nesterov(stream, w, g, v, ranges, o, control))
  if (control->skip) return;
  dispatch_master("sgd_nesterov", w.dtype, [&]<class T>() {
    T *weight = w.as<T>(), *velocity = v.as<T>();
    const T* gradient = g.as<T>();
    const SgdStep<T> step(o, *control);
    for_ranges(ranges, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) step(weight[i], gradient[i], velocity[i]);
    });
  });
}

void adam(Stream& stream, View w, View g, View m, View v, std::span<const Range> ranges, const Adam& o,
          const StepControl* control) {
  check_ranges("adam", w, ranges);
  METVOX_ON_DEVICE(stream, adam(stream, w, g, m, v, ranges, o, control))
  if (control->skip) return;
  check(control->steps >= 1, "adam: step ", control->steps, " is below 1");
  dispatch_master("adam", w.dtype, [&]<class T>() {
    T *weight = w.as<T>(), *first = m.as<T>(), *second = v.as<T>();
    const T* gradient = g.as<T>();
    const AdamStep<T> step(o, *control);
    for_ranges(ranges, [=](int64_t begin, int64_t end) {
      METVOX_ISA_CALL(adam_steps<T>)
      (weight + begin, gradient + begin, first + begin, second + begin, end - begin, step);
    });
  });
}

}  // namespace metvox
