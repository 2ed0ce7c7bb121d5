// SPDX-License-Identifier: Apache-2.0
// Windows on the GPU against the CPU in double on the same numbers, exact in the type.
#include "kernels/window.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::kGpu;
using test::on_gpu;

const WindowPlace kPlaces[] = {
    {{5, 7, 9}, {4, 4, 6}, {1, 2, 3}}, {{5, 7, 9}, {4, 4, 6}, {-1, 5, 6}}, {{3, 2, 40}, {4, 4, 36}, {-1, -1, 4}}};
constexpr int64_t kChannels = 3;

Shape window_shape(const WindowPlace& at) { return {1, kChannels, at.patch[0], at.patch[1], at.patch[2]}; }
Shape volume_shape(const WindowPlace& at) { return {kChannels, at.size[0], at.size[1], at.size[2]}; }

void compare(WindowPlace at, int flips, DType dtype) {
  SCOPED_TRACE(sentence("start ", at.start[0], ", flips ", flips, ", ", name_of(dtype)));
  at.flips = flips;
  Random random(2, 1);
  Stream host, stream(kGpu);
  const Tensor volume = test::normal_numbers(volume_shape(at), random, DType::f32);
  const Tensor single = test::converted(volume, DType::f32), there = on_gpu(volume, DType::f32, "volume");

  const Tensor expected = Tensor::empty(window_shape(at), DType::f64);
  const Tensor x = Tensor::empty(window_shape(at), dtype, kGpu, "x");
  cut_window(host, single.view(), at, expected.view());
  cut_window(stream, there.view(), at, x.view());
  const Tensor cut = in_double(x);
  test::expect_near(cut, in_double(on_gpu(expected, dtype, "rounding")), 0, "cut");

  // A weight times the share, the product with the answer and the sum are each rounded once.
  const Shape patch{at.patch[0], at.patch[1], at.patch[2]};
  const Tensor weights = test::converted(test::normal_numbers(patch, random, DType::f32), DType::f32);
  const Tensor gpu_weights = weights.to(kGpu);
  const Tensor answer = in_double(on_gpu(test::normal_numbers(window_shape(at), random, DType::f64), dtype, "answer"));
  const Tensor y = on_gpu(answer, dtype, "y");
  blend_window(host, answer.view(), at, {weights.view(), 0.3f}, single.view());
  blend_window(stream, y.view(), at, {gpu_weights.view(), 0.3f}, there.view());
  const Tensor sum = test::converted(single, DType::f64);
  test::expect_near(in_double(there), sum, 3 * 0x1p-24 * test::largest(sum), "blended");
}

// Sums rounded to f16: a product that is rounded otherwise may move a sum to the next f16.
TEST(window, sums_in_f16) {
  const WindowPlace& at = kPlaces[1];
  Random random(2, 3);
  Stream host, stream(kGpu);
  const Tensor there = on_gpu(test::normal_numbers(volume_shape(at), random, DType::f32), DType::f16, "volume"),
               gpu_weights = on_gpu(test::normal_numbers({4, 4, 6}, random, DType::f32), DType::f32, "weights"),
               gpu_y = on_gpu(test::normal_numbers(window_shape(at), random, DType::f32), DType::f32, "y");
  const Tensor volume = there.to({}), weights = gpu_weights.to({}), y = gpu_y.to({});
  blend_window(stream, gpu_y.view(), at, {gpu_weights.view(), 1}, there.view());
  const Tensor got = in_double(there);
  blend_window(host, y.view(), at, {weights.view(), 1}, volume.view());
  const Tensor expected = in_double(volume);
  test::expect_near(got, expected, 0x1p-11 * test::largest(expected), "blended");
}

TEST(window, agrees_with_the_cpu) {
  for (const WindowPlace& at : kPlaces)
    for (int flips = 0; flips < 8; ++flips)
      for (DType dtype : {DType::f32, DType::bf16, DType::f16}) compare(at, flips, dtype);
}

TEST(window, agrees_under_every_schedule) {
  under_every_schedule([] { compare(kPlaces[1], 5, DType::bf16); });
}

}  // namespace
}  // namespace metvox
