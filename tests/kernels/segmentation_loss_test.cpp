// SPDX-License-Identifier: Apache-2.0
#include "kernels/segmentation_loss.h"

#include "tensor/threads.h"
#include "tests/support/loss_data.h"
#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;
using test::heads;
using Problem = SegmentationLossProblem;

struct Data {
  Tensor logits, labels, coefficients, start;  // labels u8, the rest f64
  double voxel_weight = 0.37;
};

Shape logits_shape(const Problem& p) { return {p.n, p.heads.count, p.extent[0], p.extent[1], p.extent[2]}; }

Data data_for(const Problem& p, double deviation = 3) {
  Random random(11, 2);
  Data d;
  d.logits = test::normal_numbers(logits_shape(p), random, p.dtype, -0.5, deviation);
  d.labels = test::mixed_labels(p, random);
  d.coefficients = test::normal_numbers({p.n, p.heads.count, 2}, random, DType::f32);
  d.start = test::normal_numbers(logits_shape(p), random, p.dtype);
  return d;
}

std::unique_ptr<SegmentationLossKernel> engine(const Problem& p, const char* name) {
  return segmentation_loss().prepare(p, {{}, p.dtype, name}).kernel;
}

Tensor sums(const SegmentationLossKernel& kernel, const Problem& p, const Data& d) {
  Stream stream;
  const GuardedTensor logits(d.logits, p.dtype), sums(test::filled({p.sums_count()}, DType::f64, NAN), DType::f64);
  const test::Guarded scratch(kernel.scratch_bytes());
  kernel.sums(stream, logits.view(), d.labels.view(), sums.view().as<double>(), scratch.data());
  return sums.in_double();
}

Tensor gradient(const SegmentationLossKernel& kernel, const Problem& p, const Data& d, Grad grad) {
  Stream stream;
  const GuardedTensor logits(d.logits, p.dtype), dlogits(d.start, p.dtype);
  const test::Guarded scratch(kernel.scratch_bytes());
  // The coefficients halved, times 2: exact, and dy counts.
  std::vector<double> coefficients(d.coefficients.data<double>(),
                                   d.coefficients.data<double>() + d.coefficients.size());
  coefficients.push_back(d.voxel_weight);
  for (double& c : coefficients) c /= 2;
  const Tensor dy = test::converted(test::filled({1}, DType::f64, 2), p.master());
  kernel.gradient(stream, logits.view(), d.labels.view(), coefficients.data(), dy.view(), dlogits.view(), grad,
                  scratch.data());
  return dlogits.in_double();
}

// The loss whose gradient the coefficients ask for.
double loss(const Problem& p, const Data& d, const Tensor& sums) {
  const double *s = sums.data<double>(), *c = d.coefficients.data<double>();
  double total = d.voxel_weight * s[p.sums_count() - 2];
  for (int64_t i = 0; i < p.n * p.heads.count; ++i)
    for (int k = 0; k < 2; ++k) total += c[2 * i + k] * s[Problem::kPerHead * i + k];
  return total;
}

void compare(const Problem& p, double deviation = 3) {
  SCOPED_TRACE(p.describe());
  constexpr double kC = 8;
  const double single = test::epsilon(DType::f32);
  const double neighbour =
      p.dtype == DType::bf16 ? test::epsilon(p.dtype) : 0;  // near a tie the next number is as good
  const Data d = data_for(p, deviation);
  const auto reference = engine(p, "reference"), native = engine(p, "native");
  const Tensor expected = sums(*reference, p, d), got = sums(*native, p, d);
  // The difference of two logits is rounded; eps |z| in the exponent is as much of e^z.
  const double relative = single * (kC + (p.softmax ? test::largest(d.logits) : 0));
  const int64_t rows = p.n * p.heads.count * Problem::kPerHead;
  for (int64_t i = 0; i < p.sums_count(); ++i) {
    const double e = expected.data<double>()[i];
    const bool rounded =
        i < rows ? i % Problem::kPerHead < 2 : i == rows;  // I, P, the voxel sum; the others are counts
    ASSERT_NEAR(got.data<double>()[i], e, rounded ? relative * std::abs(e) : 0) << "sum " << i;
  }
  const double size = 2 * test::largest(d.coefficients) + d.voxel_weight * (1 + p.positive_weight);
  for (Grad grad : {Grad::overwrite, Grad::accumulate, Grad::ignore}) {
    const Tensor to = gradient(*reference, p, d, grad);
    const double limit = kC * single * size + neighbour * test::largest(to);
    test::expect_near(gradient(*native, p, d, grad), to, grad == Grad::ignore ? 0 : limit, "dlogits");
  }
}

TEST(segmentation_loss, sums_worked_by_hand) {
  const double z[] = {2, -1, .5, -3, -2, 1.5, -.25, -4};
  const uint8_t label[] = {1, 0, 0, 0, 0, 1, 1, 0};
  for (const char* name : {"reference", "native"}) {
    Problem p{1, {2, 2, 2}, {2, 2, 2}};
    p.heads.count = 1;
    p.heads.labels[0] = 1u << 1;
    p.positive_weight = 10;
    Data d = data_for(p);
    std::copy_n(z, 8, d.logits.data<double>());
    std::copy_n(label, 8, d.labels.data<uint8_t>());
    const Tensor s = sums(*engine(p, name), p, d);
    const double *v = s.data<double>(), tolerance = 1e-6;
    EXPECT_NEAR(v[0], 2.1361949, tolerance) << name;         // I
    EXPECT_NEAR(v[1] - v[0], 1.0760158, tolerance) << name;  // P - I: soft false positives
    EXPECT_NEAR(v[2] - v[0], 0.8638050, tolerance) << name;
    EXPECT_EQ(v[3], 2) << name;
    EXPECT_EQ(v[4], 1) << name;
    EXPECT_EQ(v[5], 1) << name;
    EXPECT_NEAR(v[6] / v[7], 1.7722616, tolerance) << name;
    p.positive_weight = 0;
    const Tensor plain = sums(*engine(p, name), p, d);
    EXPECT_NEAR(plain.data<double>()[6] / 8, 0.3294106, tolerance) << name;
  }
}

TEST(segmentation_loss, softmax_worked_by_hand) {
  for (const char* name : {"reference", "native"}) {
    Problem p{1, {1, 1, 3}, {1, 1, 3}};
    p.softmax = true;
    p.heads = heads(2, true);
    Data d = data_for(p);
    const double z[] = {0, std::log(3.0), 1, 1, 5, 7};  // p of head 1: 3/4, 1/2, ignored below
    const uint8_t label[] = {1, 0, 9};
    std::copy_n(z, 6, d.logits.data<double>());
    std::copy_n(label, 3, d.labels.data<uint8_t>());
    p.ignore_label = 9;
    const Tensor s = sums(*engine(p, name), p, d);
    const double expected[] = {0.5, 0.75, 1, 1, 0, 0, 0.75, 1.25, 1, 1, 0, 0, std::log(8.0 / 3), 2};
    for (int i = 0; i < 14; ++i) EXPECT_NEAR(s.data<double>()[i], expected[i], 4e-7) << name << ", sum " << i;
    const Tensor dz = gradient(*engine(p, name), p, d, Grad::overwrite);
    EXPECT_EQ(dz.data<double>()[4], 0) << name;
    EXPECT_EQ(dz.data<double>()[5], 0) << name;
  }
}

TEST(segmentation_loss, gradients_of_the_reference_against_finite_differences) {
  for (bool softmax : {false, true})
    for (Int3 labels : {Int3{3, 4, 5}, Int3{6, 8, 13}}) {
      Problem p{2, {3, 4, 5}, labels, heads(4, softmax), softmax, softmax ? 0.0 : 10.0, 2, DType::f64};
      SCOPED_TRACE(p.describe());
      Data d = data_for(p, 1);
      const auto kernel = engine(p, "reference");
      const Tensor dz = gradient(*kernel, p, d, Grad::overwrite), origin = d.logits.clone();
      Random random(5, 5);
      const Tensor way = test::normal_numbers(origin.shape(), random, DType::f64);
      const double step = 1e-5;
      double value[2], slope = 0;
      for (int side = 0; side < 2; ++side) {
        for (int64_t i = 0; i < way.size(); ++i)
          d.logits.data<double>()[i] = origin.data<double>()[i] + (side ? step : -step) * way.data<double>()[i];
        value[side] = loss(p, d, sums(*kernel, p, d));
      }
      for (int64_t i = 0; i < way.size(); ++i) slope += way.data<double>()[i] * dz.data<double>()[i];
      EXPECT_NEAR((value[1] - value[0]) / (2 * step), slope, 1e-6 * std::max(1.0, std::abs(slope)));
    }
}

TEST(segmentation_loss, native_agrees_with_the_reference) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (bool softmax : {false, true})
      for (int count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 64})
        for (int64_t n : {1, 3})
          compare({n,
                   {5, 3, 11},
                   {5, 3, 11},
                   heads(count, softmax),
                   softmax,
                   softmax ? 0.0 : 10.0,
                   n == 1 ? 200 : -1,
                   dtype});
}

TEST(segmentation_loss, levels_and_sizes_agree) {
  for (bool softmax : {false, true}) {
    compare({1, {1, 1, 1}, {1, 1, 1}, heads(3, softmax), softmax});
    compare({1, {1, 1, 1}, {7, 8, 9}, heads(3, softmax), softmax});
    compare({2, {4, 5, 6}, {8, 10, 12}, heads(3, softmax), softmax});
    compare({2, {4, 5, 6}, {9, 5, 16}, heads(3, softmax), softmax, 0, 1});
    compare({1, {31, 33, 37}, {31, 33, 37}, heads(3, softmax), softmax});
    compare({1, {31, 33, 37}, {62, 66, 74}, heads(3, softmax), softmax});
  }
}

TEST(segmentation_loss, sure_voxels_keep_their_digits) {
  for (bool softmax : {false, true})
    for (double deviation : {1e-3, 20.0, 60.0})
      compare({1, {5, 6, 7}, {5, 6, 7}, heads(3, softmax), softmax}, deviation);
}

TEST(segmentation_loss, a_level_reads_the_label_that_nearest_exact_picks) {
  Problem p{1, {1, 1, 3}, {1, 1, 8}};
  // floor((o + 0.5) 8 / 3) for o = 0, 1, 2.
  EXPECT_EQ(p.label_index(2, 0), 1);
  EXPECT_EQ(p.label_index(2, 1), 4);
  EXPECT_EQ(p.label_index(2, 2), 6);
}

TEST(segmentation_loss, what_is_not_a_number_shows) {
  for (const char* name : {"reference", "native"})
    for (bool softmax : {false, true}) {
      const Problem p{1, {3, 3, 3}, {3, 3, 3}, heads(3, softmax), softmax};
      Data d = data_for(p);
      d.logits.data<double>()[4] = NAN;  // head 1 of voxel 1
      EXPECT_TRUE(std::isnan(sums(*engine(p, name), p, d).data<double>()[1 * Problem::kPerHead + 1]))
          << name << softmax;
    }
}

TEST(segmentation_loss, any_number_of_threads_gives_the_same_bits) {
  const Problem p{2, {24, 25, 26}, {48, 50, 52}, heads(3, false)};
  const Data d = data_for(p);
  const int before = threads();
  Tensor results[2];
  for (int i = 0; i < 2; ++i) {
    set_threads(i == 0 ? 1 : 3);
    results[i] = sums(*engine(p, "native"), p, d);
  }
  set_threads(before);
  test::expect_near(results[1], results[0], 0, "sums");
}

}  // namespace
}  // namespace metvox
