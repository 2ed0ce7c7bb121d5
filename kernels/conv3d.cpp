// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv3d.h"

#include "kernels/check_view.h"
#include "kernels/conv3d_engines.h"
#include "kernels/convolution_trials.h"

namespace metvox {
namespace {

std::string text_of(const Int3& e) { return sentence(e[0], 'x', e[1], 'x', e[2]); }

}  // namespace

Int3 Conv3dProblem::out() const {
  Int3 o;
  for (int a = 0; a < 3; ++a) {
    const int64_t room = in[a] + 2 * pad[a] - kernel[a];
    o[a] = room < 0 ? 0 : room / stride[a] + 1;
  }
  return o;
}

Shape Conv3dProblem::y_shape() const {
  const Int3 o = out();
  return {n, k, o[0], o[1], o[2]};
}

double Conv3dProblem::flops() const {
  return 2.0 * static_cast<double>(n * k * volume(out())) * static_cast<double>((c + c2) * volume(kernel));
}

std::string Conv3dProblem::describe() const {
  std::string text = sentence("conv3d n", n, " c", c);
  if (c2) text += sentence('+', c2);
  text += sentence(" k", k, " in", text_of(in), " k", text_of(kernel), " s", text_of(stride), " p", text_of(pad));
  return text + (bias ? " bias " : " ") + std::string(precision_of(dtype, tf32)) + (moments ? " moments" : "");
}

void Conv3dProblem::validate() const {
  check(n >= 1 && c >= 1 && c2 >= 0 && k >= 1, "conv3d: batch and channels start at 1: ", describe());
  check(!tf32 || dtype == DType::f32, "conv3d: tf32 is of f32, not of ", name_of(dtype));
  for (int a = 0; a < 3; ++a)
    check(in[a] >= 1 && kernel[a] >= 1 && stride[a] >= 1 && pad[a] >= 0,
          "conv3d: extents, kernel and stride start at 1, padding at 0: ", describe());
  for (int64_t extent : out())
    if (extent < 1)
      fail(Fault::usage, "a convolution with kernel ", text_of(kernel), ", stride ", text_of(stride), " and padding ",
           text_of(pad), " has nothing left of an image of ", text_of(in),
           " voxels; use a larger patch or fewer stages");
}

void Conv3dProblem::check_weights(const View& w) const { check_view("conv3d", "w", w, w_shape(), master()); }

void Conv3dProblem::check_weights(const View& w, const View& b) const {
  check_weights(w);
  if (bias) check_view("conv3d", "b", b, {k}, master());
}

void Conv3dProblem::check_activations(const View& x, const View& x2, const View& y) const {
  if (x) check_view("conv3d", "x", x, x_shape(), dtype);
  if (x2) check_view("conv3d", "x2", x2, x2_shape(), dtype);
  check_view("conv3d", "y", y, y_shape(), dtype);
}

void Conv3dProblem::check_moments(const View& given, int64_t chunks) const {
  check_view("conv3d", "moments", given, moments_shape(n, k, chunks), DType::f32);
}

void Conv3dForward::run_with_moments(Stream&, View, View, const void*, View, View, void*) const {
  check(false, "conv3d: this kernel gives no moments");
}

const Conv3dForwardTable& conv3d_forward() {
  static const Conv3dForwardTable table(
      "conv3d_forward",
      {METVOX_DEVICE_ENGINES(conv3d_forward_native_hopper), METVOX_DEVICE_ENGINES(conv3d_forward_native_im2col),
       METVOX_DEVICE_ENGINES(conv3d_forward_native), cudnn::conv3d_forward(false), cudnn::conv3d_forward(true),
       cublas::conv3d_forward(), native::conv3d_forward(), onednn::conv3d_forward(), reference::conv3d_forward()},
      tried_on_gpu<conv3d_forward_trial>());
  return table;
}

const Conv3dBackwardDataTable& conv3d_backward_data() {
  static const Conv3dBackwardDataTable table(
      "conv3d_backward_data",
      {METVOX_DEVICE_ENGINES(conv3d_backward_data_native_hopper),
       METVOX_DEVICE_ENGINES(conv3d_backward_data_native_im2col), METVOX_DEVICE_ENGINES(conv3d_backward_data_native),
       cudnn::conv3d_backward_data(false), cudnn::conv3d_backward_data(true), cublas::conv3d_backward_data(),
       native::conv3d_backward_data(), onednn::conv3d_backward_data(), reference::conv3d_backward_data()},
      tried_on_gpu<conv3d_backward_data_trial>());
  return table;
}

const Conv3dBackwardWeightsTable& conv3d_backward_weights() {
  static const Conv3dBackwardWeightsTable table(
      "conv3d_backward_weights",
      {METVOX_DEVICE_ENGINES(conv3d_backward_weights_native_hopper),
       METVOX_DEVICE_ENGINES(conv3d_backward_weights_native), cudnn::conv3d_backward_weights(false),
       cudnn::conv3d_backward_weights(true), cublas::conv3d_backward_weights(), native::conv3d_backward_weights(),
       onednn::conv3d_backward_weights(), reference::conv3d_backward_weights()},
      tried_on_gpu<conv3d_backward_weights_trial>());
  return table;
}

}  // namespace metvox
