// SPDX-License-Identifier: Apache-2.0
// Both phases of the loss on the GPU against the reference in double, on the same data.
#include "kernels/segmentation_loss.h"

#include "kernels/loss_finish.h"
#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"
#include "tests/support/loss_data.h"

namespace metvox {
namespace {

using test::heads;
using test::in_double;
using test::kGpu;
using test::on_gpu;
using Problem = SegmentationLossProblem;

struct Data {
  Tensor logits, labels, coefficients, start;  // labels u8, the rest f64
  double voxel_weight = 0.37;
};

Data data_for(const Problem& p, double deviation = 3) {
  Random random(11, 2);
  const Shape shape{p.n, p.heads.count, p.extent[0], p.extent[1], p.extent[2]};
  Data d;
  d.logits = in_double(on_gpu(test::normal_numbers(shape, random, DType::f32, -0.5, deviation), p.dtype, "logits"));
  d.start = in_double(on_gpu(test::normal_numbers(shape, random, DType::f32), p.dtype, "start"));
  d.labels = test::mixed_labels(p, random);
  d.coefficients = test::normal_numbers({p.n * p.heads.count * 2 + 1}, random, DType::f32);
  d.coefficients.data<double>()[p.n * p.heads.count * 2] = d.voxel_weight;
  return d;
}

struct Result {
  Tensor sums, dlogits;  // f64, on the host
};

// On the CPU's reference in double, or on the GPU in the problem's type.
Result run(Problem p, const Data& d, Grad grad, bool gpu) {
  if (!gpu) p.dtype = DType::f64;
  p.device = gpu ? kGpu : Device{};
  const auto kernel = segmentation_loss().prepare(p, {p.device, p.dtype, gpu ? "native" : "reference"}).kernel;
  const auto place = [&](const Tensor& t, DType dtype, std::string_view name) {
    return gpu ? on_gpu(t, dtype, name) : t.clone();
  };
  const Tensor logits = place(d.logits, p.dtype, "logits"), dlogits = place(d.start, p.dtype, "dlogits");
  const Tensor labels = d.labels.to(p.device), coefficients = d.coefficients.to(p.device);
  const Tensor dy = place(test::filled({1}, DType::f64, 2), p.master(), "dy");
  const Tensor sums = Tensor::empty({p.sums_count()}, DType::f64, p.device, "sums");
  const Tensor scratch =
      Tensor::empty({static_cast<int64_t>(kernel->scratch_bytes()) + 1}, DType::u8, p.device, "scratch");
  Stream stream(p.device);
  kernel->sums(stream, logits.view(), labels.view(), sums.data<double>(), scratch.view().data);
  kernel->gradient(stream, logits.view(), labels.view(), coefficients.data<double>(), dy.view(), dlogits.view(), grad,
                   scratch.view().data);
  return {sums.to({}), in_double(dlogits)};
}

void compare(const Problem& p, double deviation = 3) {
  SCOPED_TRACE(p.describe());
  constexpr double kC = 8;
  const double single = test::epsilon(DType::f32);
  // Near a tie the next number of a half type is as good.
  const double neighbour = p.dtype == DType::f32 ? 0 : 2 * test::unit_roundoff(p.dtype);
  const Data d = data_for(p, deviation);
  // The difference of two logits is rounded; eps |z| in the exponent is as much of e^z.
  const double relative = single * (kC + (p.softmax ? test::largest(d.logits) : 0));
  const int64_t rows = p.n * p.heads.count * Problem::kPerHead;
  const double size = 2 * (2 * test::largest(d.coefficients) + d.voxel_weight * (1 + p.positive_weight));
  for (Grad grad : {Grad::overwrite, Grad::accumulate}) {
    const Result expected = run(p, d, grad, false), got = run(p, d, grad, true);
    for (int64_t i = 0; i < p.sums_count(); ++i) {
      const double e = expected.sums.data<double>()[i];
      const bool rounded = i < rows ? i % Problem::kPerHead < 2 : i == rows;  // the others are counts
      ASSERT_NEAR(got.sums.data<double>()[i], e, rounded ? relative * std::abs(e) : 0) << "sum " << i;
    }
    const double limit = kC * single * size + neighbour * test::largest(expected.dlogits);
    test::expect_near(got.dlogits, expected.dlogits, limit, "dlogits");
  }
}

TEST(segmentation_loss, agrees_with_the_reference) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (bool softmax : {false, true})
      for (int count : dtype == DType::f32 ? std::vector{1, 3, 4, 5, 8, 9, 64} : std::vector{3, 9})
        compare({count % 2 + 1,
                 {3, 4, 5},
                 {3, 4, 5},
                 heads(count, softmax),
                 softmax,
                 softmax ? 0.0 : 10.0,
                 count % 2 ? 200 : -1,
                 dtype});
}

TEST(segmentation_loss, levels_and_sizes_agree) {
  for (bool softmax : {false, true}) {
    compare({1, {1, 1, 1}, {1, 1, 1}, heads(3, softmax), softmax});
    compare({1, {1, 1, 1}, {7, 8, 9}, heads(3, softmax), softmax});
    compare({2, {4, 5, 6}, {8, 10, 12}, heads(3, softmax), softmax});
    compare({2, {4, 5, 6}, {9, 5, 16}, heads(3, softmax), softmax, 0, 1});
    compare({2, {16, 17, 18}, {16, 17, 18}, heads(3, softmax), softmax});  // more than a block's chunk
  }
}

TEST(segmentation_loss, sure_voxels_keep_their_digits) {
  for (bool softmax : {false, true})
    for (double deviation : {1e-3, 20.0, 60.0})
      compare({1, {5, 6, 7}, {5, 6, 7}, heads(3, softmax), softmax}, deviation);
}

TEST(segmentation_loss, what_is_not_a_number_shows) {
  for (bool softmax : {false, true}) {
    const Problem p{1, {3, 3, 3}, {3, 3, 3}, heads(3, softmax), softmax};
    Data d = data_for(p);
    d.logits.data<double>()[4] = NAN;  // head 1 of voxel 1
    EXPECT_TRUE(std::isnan(run(p, d, Grad::overwrite, true).sums.data<double>()[1 * Problem::kPerHead + 1]));
  }
}

TEST(segmentation_loss, leaves_a_gradient_that_nobody_wants) {
  const Problem p{1, {3, 3, 3}, {3, 3, 3}, heads(3, false)};
  const Data d = data_for(p);
  test::expect_near(run(p, d, Grad::ignore, true).dlogits, d.start, 0, "dlogits");
}

TEST(segmentation_loss, every_schedule_gives_the_same_bits) {
  const Problem p{2, {17, 16, 17}, {34, 32, 34}, heads(3, false), false, 10, -1, DType::bf16};
  const Data d = data_for(p);
  const Result first = run(p, d, Grad::accumulate, true);
  under_every_schedule([&] {
    const Result again = run(p, d, Grad::accumulate, true);
    test::expect_near(again.sums, first.sums, 0, "sums");
    test::expect_near(again.dlogits, first.dlogits, 0, "dlogits");
  });
}

TEST(segmentation_loss, is_finished_as_on_the_cpu) {
  LossFinish f;
  f.levels = 2, f.heads = 3, f.n = 2;
  f.weights = {0.75, 0.25};
  f.overlap = {.base = 1, .top_i = 2, .bottom_p = 1, .bottom_g = 1, .floor = 1e-8};
  Random random(5, 1);
  const Tensor sums = test::normal_numbers({2 * (2 * 3 * Problem::kPerHead + 2)}, random, DType::f64, 10, 2);
  const Tensor coefficients = test::filled({2 * (2 * 3 * 2 + 1)}, DType::f64, NAN), y = Tensor::zeros({12}, DType::f32);
  const Tensor gpu_coefficients = coefficients.to(kGpu), gpu_y = y.to(kGpu), gpu_sums = sums.to(kGpu);
  for (bool over_batch : {false, true}) {
    f.over_batch = over_batch;
    Stream host, stream(kGpu);
    finish_loss(host, f, sums.data<double>(), coefficients.data<double>(), y.view());
    finish_loss(stream, f, gpu_sums.data<double>(), gpu_coefficients.data<double>(), gpu_y.view());
    test::expect_near(in_double(gpu_y), test::converted(y, DType::f64), 0, "y");
    test::expect_near(in_double(gpu_coefficients), coefficients, 0, "coefficients");
  }
}

}  // namespace
}  // namespace metvox
