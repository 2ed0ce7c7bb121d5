// SPDX-License-Identifier: Apache-2.0
// Optimizers on the GPU: one pass over the flat buffers, bound by memory. Ranges that touch are one; they travel with
// the launch, some at a time. No step waits for the host: what it depends on is read from the StepControl. The squared
// norm has as many pieces as blocks, each summed in one order. Not yet run on hardware.
#include "kernels/cuda/optimize.h"

#include <algorithm>

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/kernel.h"
#include "kernels/optimize_bodies.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPart = 4 * kThreads;  // a block's share is a multiple: its parts begin where lines of memory do
constexpr int64_t kBlocks = 2048;        // at most

struct RangeList {
  static constexpr int kMax = 128;
  int count = 0;
  int64_t total = 0;
  Range range[kMax];
};

// Calls body(begin, end) for the block's share of the list.
template <class Body>
METVOX_DEVICE void for_share(const RangeList& list, const Body& body) {
  const int64_t parts = (list.total + kPart - 1) / kPart, share = (parts + gridDim.x - 1) / gridDim.x * kPart;
  const int64_t first = blockIdx.x * share;
  walk(list.range, list.count, first, first + share, body);
}

struct SquaredNorm {
  const float* g;
  double* sum;
  METVOX_DEVICE void operator()(int64_t begin, int64_t end) const {
    double squares = 0;
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x)
      squares += static_cast<double>(g[i]) * static_cast<double>(g[i]);
    *sum += squares;
  }
};

// Block p: piece p of the list's elements [first, first + total) of n.
__global__ void __launch_bounds__(512)
    sum_squares(const float* g, RangeList list, int64_t first, int64_t n, StepControl* control) {
  const int64_t p = blockIdx.x;
  double sum = 0;
  walk(list.range, list.count, n * p / StepControl::kPieces - first, n * (p + 1) / StepControl::kPieces - first,
       SquaredNorm{g, &sum});
  sum = block_sum(sum);
  if (threadIdx.x == 0) control->piece[p] = first == 0 ? sum : control->piece[p] + sum;
}

__global__ void decide(StepControl* control, StepRules rules) { decide_step(*control, rules); }

struct SgdShare {
  SgdStep<float> step;
  float* w;
  const float* g;
  float* v;
  METVOX_DEVICE void operator()(int64_t begin, int64_t end) const {
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) step(w[i], g[i], v[i]);
  }
};

__global__ void __launch_bounds__(kThreads)
    sgd_steps(float* w, const float* g, float* v, RangeList list, SgdNesterov options, const StepControl* control) {
  if (control->skip) return;
  for_share(list, SgdShare{SgdStep<float>(options, *control), w, g, v});
}

struct AdamShare {
  AdamStep<float> step;
  float* w;
  const float* g;
  float *m, *v;
  METVOX_DEVICE void operator()(int64_t begin, int64_t end) const {
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) step(w[i], g[i], m[i], v[i]);
  }
};

__global__ void __launch_bounds__(kThreads)
    adam_steps(float* w, const float* g, float* m, float* v, RangeList list, Adam options, const StepControl* control) {
  if (control->skip) return;
  METVOX_SHARED(double, memory, [(sizeof(AdamStep<float>) + 7) / 8]);
  auto* step = reinterpret_cast<AdamStep<float>*>(memory);
  if (threadIdx.x == 0) *step = AdamStep<float>(options, *control);  // its powers, once a block
  __syncthreads();
  for_share(list, AdamShare{*step, w, g, m, v});
}

// launch_list(list, elements before it) for all ranges; at least once.
template <class F>
void each_list(std::span<const Range> ranges, F launch_list) {
  RangeList list;
  int64_t before = 0;
  for (const Range& r : ranges) {
    if (r.count == 0) continue;
    Range* last = list.count ? &list.range[list.count - 1] : nullptr;
    if (last && last->first + last->count == r.first) {
      last->count += r.count;
    } else {
      if (list.count == RangeList::kMax) {
        launch_list(list, before);
        before += list.total;
        list = {};
      }
      list.range[list.count++] = r;
    }
    list.total += r.count;
  }
  launch_list(list, before);
}

dim3 blocks_for(const RangeList& list) {
  return {static_cast<unsigned>(std::clamp((list.total + kPart - 1) / kPart, int64_t{1}, kBlocks))};
}

}  // namespace

void measure_gradients(Stream& stream, View g, std::span<const Range> ranges, const StepRules& rules,
                       StepControl* control) {
  int64_t n = 0;
  for (const Range& r : ranges) n += r.count;
  each_list(ranges, [&](const RangeList& list, int64_t before) {
    launch(sum_squares, dim3(StepControl::kPieces), sum_threads(n / StepControl::kPieces, 8), 0, stream, g.as<float>(),
           list, before, n, control);
  });
  launch(decide, dim3(1), dim3(1), 0, stream, control, rules);
}

void sgd_nesterov(Stream& stream, View w, View g, View v, std::span<const Range> ranges, const SgdNesterov& options,
                  const StepControl* control) {
  each_list(ranges, [&](const RangeList& list, int64_t) {
    launch(sgd_steps, blocks_for(list), dim3(kThreads), 0, stream, w.as<float>(), g.as<float>(), v.as<float>(), list,
           options, control);
  });
}

void adam(Stream& stream, View w, View g, View m, View v, std::span<const Range> ranges, const Adam& options,
          const StepControl* control) {
  each_list(ranges, [&](const RangeList& list, int64_t) {
    launch(adam_steps, blocks_for(list), dim3(kThreads), 0, stream, w.as<float>(), g.as<float>(), m.as<float>(),
           v.as<float>(), list, options, control);
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
