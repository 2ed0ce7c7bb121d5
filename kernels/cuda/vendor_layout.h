// SPDX-License-Identifier: Apache-2.0
// What the engines of vendors' libraries need of the GPU beside the libraries: our weights in their order and type,
// biases and their gradients.
#pragma once
#include "kernels/engine.h"
#include "kernels/on_device.h"

namespace metvox {

// w (K, C, taps...) f32 in our order; `to` and `from` (K, c, taps...) with the channels [first, first + c) of w
// fastest, in any type of activations.
METVOX_DEVICE_DECLARE(void take_filter(Stream&, View w, int64_t first, View to);
                      void give_filter(Stream&, View from, View w, int64_t first, Grad);
                      void add_bias(Stream&, View b, View y); size_t bias_gradient_scratch(const View& dy);
                      void bias_gradient(Stream&, View dy, View db, Grad, void* scratch);)

}  // namespace metvox
