// SPDX-License-Identifier: Apache-2.0
// Optimizers over flat buffers: one pass over the ranges that have a gradient; the rest stays untouched (no decay
// either). w, g, state are f32 or all f64; arithmetic in that type. Sums in double, in an order that no number of
// threads changes.
#pragma once
#include <span>

#include "tensor/device.h"
#include "tensor/tensor.h"

namespace metvox {

struct Range {
  int64_t first = 0, count = 0;  // elements
};

// Sum of g^2 over the ranges.
double squared_norm(Stream&, View g, std::span<const Range> ranges);

// torch.optim.SGD with Nesterov momentum: g += decay w; v = momentum v + g; w -= lr (g + momentum v). g is read times
// g_scale.
struct SgdNesterov {
  double lr = 1e-2, momentum = 0.99, weight_decay = 3e-5, g_scale = 1;
};
void sgd_nesterov(Stream&, View w, View g, View v, std::span<const Range> ranges, const SgdNesterov&);

// torch.optim.Adam (decay added to the gradient, bias correction by step, eps outside the root). step counts from 1.
struct Adam {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, g_scale = 1;
  int64_t step = 1;
};
void adam(Stream&, View w, View g, View m, View v, std::span<const Range> ranges, const Adam&);

}  // namespace metvox
