// SPDX-License-Identifier: Apache-2.0
// Optimizers over flat buffers: one pass over the ranges that have a gradient; the rest stays untouched (no decay
// either). w, g, state are f32 or, on the CPU, all f64; arithmetic in that type. Sums in double, in an order that no
// number of threads changes. What a step depends on lies beside the buffers in a StepControl, so that no step waits for
// the host.
#pragma once
#include <cmath>
#include <span>

#include "tensor/device.h"
#include "tensor/host_device.h"
#include "tensor/tensor.h"

namespace metvox {

struct Range {
  int64_t first = 0, count = 0;  // elements
};

// The numbers of one step. The host writes lr, measure_gradients() the rest, the optimizers read.
struct StepControl {
  static constexpr int kPieces = 256;
  double lr = 0;
  double norm = 0;             // L2 norm of the gradients before clipping, loss scale taken out
  double g_scale = 1;          // gradients are read times this: clipping, and 1 / loss_scale
  double loss_scale = 1;       // the gradients are those of the loss times this
  int64_t steps = 0;           // taken, this one included
  int64_t clean_steps = 0;     // since loss_scale last changed
  int64_t skip = 0;            // 1: a gradient is not finite; this step leaves weights and state as they were
  double piece[kPieces] = {};  // of the squared norm
};

struct StepRules {
  double max_norm = 12;           // gradients are scaled so that their norm is at most this
  bool adapt_loss_scale = false;  // f16: halved when a gradient is not finite, doubled after `growth_steps` clean ones
  int64_t growth_steps = 2000;
};

// From the sum of the pieces to the step's numbers; the end of measure_gradients() on every device.
METVOX_HD inline void decide_step(StepControl& c, const StepRules& rules) {
  double sum = 0;
  for (double piece : c.piece) sum += piece;
  c.norm = std::sqrt(sum) / c.loss_scale;
  c.skip = sum <= 1.7976931348623157e308 ? 0 : 1;  // false for infinity and for NaN
  const double clip = rules.max_norm / (c.norm + 1e-6);
  c.g_scale = (clip < 1 ? clip : 1) / c.loss_scale;
  if (c.skip == 0) ++c.steps;
  if (!rules.adapt_loss_scale) return;
  c.clean_steps = c.skip ? 0 : c.clean_steps + 1;
  if (c.skip && c.loss_scale > 1) c.loss_scale /= 2;
  if (c.clean_steps == rules.growth_steps) {
    c.loss_scale *= 2;
    c.clean_steps = 0;
  }
}

// Norm, clipping factor, skip flag and loss scale of the gradients in the ranges. `control` lies on the stream's
// device.
void measure_gradients(Stream&, View g, std::span<const Range> ranges, const StepRules&, StepControl* control);

// torch.optim.SGD with Nesterov momentum: g += decay w; v = momentum v + g; w -= lr (g + momentum v).
struct SgdNesterov {
  double momentum = 0.99, weight_decay = 3e-5;
};
void sgd_nesterov(Stream&, View w, View g, View v, std::span<const Range> ranges, const SgdNesterov&,
                  const StepControl* control);

// torch.optim.Adam (decay added to the gradient, bias correction by the steps taken, eps outside the root).
struct Adam {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
void adam(Stream&, View w, View g, View m, View v, std::span<const Range> ranges, const Adam&,
          const StepControl* control);

}  // namespace metvox
