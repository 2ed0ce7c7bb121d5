// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv_transpose3d.h"

#include "kernels/check_view.h"
#include "kernels/conv_transpose3d_engines.h"
#include "kernels/convolution_trials.h"

namespace metvox {

double ConvTranspose3dProblem::flops() const {
  return 2.0 * static_cast<double>(n * volume(in)) * static_cast<double>(c * k * volume(stride));
}

std::string ConvTranspose3dProblem::describe() const {
  return sentence("conv_transpose3d n", n, " c", c, " k", k, " in", in[0], 'x', in[1], 'x', in[2], " s", stride[0], 'x',
                  stride[1], 'x', stride[2], bias ? " bias " : " ", precision_of(dtype, tf32));
}

void ConvTranspose3dProblem::validate() const {
  check(n >= 1 && c >= 1 && k >= 1, "conv_transpose3d: batch and channels start at 1: ", describe());
  check(!tf32 || dtype == DType::f32, "conv_transpose3d: tf32 is of f32, not of ", name_of(dtype));
  for (int a = 0; a < 3; ++a)
    check(in[a] >= 1 && stride[a] >= 1, "conv_transpose3d: extents and stride start at 1: ", describe());
}

void ConvTranspose3dProblem::check_weights(const View& w) const {
  check_view("conv_transpose3d", "w", w, w_shape(), master());
}

void ConvTranspose3dProblem::check_weights(const View& w, const View& b) const {
  check_weights(w);
  if (bias) check_view("conv_transpose3d", "b", b, {k}, master());
}

void ConvTranspose3dProblem::check_activations(const View& x, const View& y) const {
  check_view("conv_transpose3d", "x", x, x_shape(), dtype);
  check_view("conv_transpose3d", "y", y, y_shape(), dtype);
}

const ConvTranspose3dForwardTable& conv_transpose3d_forward() {
  static const ConvTranspose3dForwardTable table(
      "conv_transpose3d_forward",
      {METVOX_DEVICE_ENGINES(conv_transpose3d_forward_native), cudnn::conv_transpose3d_forward(false),
       cudnn::conv_transpose3d_forward(true), onednn::conv_transpose3d_forward(),
       reference::conv_transpose3d_forward()},
      tried_on_gpu<conv_transpose3d_forward_trial>());
  return table;
}

const ConvTranspose3dBackwardDataTable& conv_transpose3d_backward_data() {
  static const ConvTranspose3dBackwardDataTable table(
      "conv_transpose3d_backward_data",
      {METVOX_DEVICE_ENGINES(conv_transpose3d_backward_data_native), cudnn::conv_transpose3d_backward_data(false),
       cudnn::conv_transpose3d_backward_data(true), onednn::conv_transpose3d_backward_data(),
       reference::conv_transpose3d_backward_data()},
      tried_on_gpu<conv_transpose3d_backward_data_trial>());
  return table;
}

const ConvTranspose3dBackwardWeightsTable& conv_transpose3d_backward_weights() {
  static const ConvTranspose3dBackwardWeightsTable table(
      "conv_transpose3d_backward_weights",
      {METVOX_DEVICE_ENGINES(conv_transpose3d_backward_weights_native), cudnn::conv_transpose3d_backward_weights(false),
       cudnn::conv_transpose3d_backward_weights(true), onednn::conv_transpose3d_backward_weights(),
       reference::conv_transpose3d_backward_weights()},
      tried_on_gpu<conv_transpose3d_backward_weights_trial>());
  return table;
}

}  // namespace metvox
