// SPDX-License-Identifier: Apache-2.0
// Against the reference in double on the same numbers, exact in the problem's type.
#include "kernels/norm_act.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::on_gpu;

constexpr double kC = 8, kSingle = 0x1p-23;

struct Data {
  Tensor x, gamma, beta, dy, start;  // f64; start: of the gradients that are added to
};
struct Results {
  Tensor y, saved, dx, dgamma, dbeta;
};

Data data_for(const NormActProblem& p, double mean = 0.3, double deviation = 1) {
  Random random(7, 1);
  const auto numbers = [&](const Shape& shape, DType dtype, double about, double spread) {
    return in_double(on_gpu(test::normal_numbers(shape, random, DType::f64, about, spread), dtype, "rounding"));
  };
  return {numbers(p.x_shape(), p.dtype, mean, deviation), numbers({p.c}, DType::f32, 1, 0.3),
          numbers({p.c}, DType::f32, 0, 0.3), numbers(p.x_shape(), p.dtype, 0, 1), numbers(p.x_shape(), p.dtype, 0, 1)};
}

// The engine of that name on the CPU in f64, or on the GPU in the problem's type.
class Runner {
 public:
  Runner(NormActProblem p, bool gpu) : p_(p) {
    p_.device = gpu ? test::kGpu : Device{};
    if (!gpu) p_.dtype = DType::f64;
    kernel_ = norm_act().prepare(p_, {p_.device, p_.dtype, gpu ? "native" : "reference"}).kernel;
  }
  NormAct& kernel() { return *kernel_; }
  Tensor put(const Tensor& from, DType dtype, const char* name) const {
    return p_.device.is_cpu() ? from.clone() : on_gpu(from, dtype, name);
  }
  Tensor rubbish(size_t bytes, const char* name) const {
    return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, p_.device, name);
  }

  void forward(const Data& d, Results& r, const Tensor& moments = {}) const {
    Stream stream(p_.device);
    const Tensor x = put(d.x, p_.dtype, "x"), gamma = put(d.gamma, p_.master(), "gamma"),
                 beta = put(d.beta, p_.master(), "beta"), y = Tensor::empty(p_.x_shape(), p_.dtype, p_.device, "y"),
                 saved = Tensor::empty(p_.saved_shape(), p_.master(), p_.device, "saved"),
                 scratch = rubbish(kernel_->forward_scratch_bytes(), "scratch");
    kernel_->forward(stream, x.view(), moments ? moments.view() : View{}, gamma.view(), beta.view(), y.view(),
                     saved.view(), scratch.view().data);
    r.y = in_double(y), r.saved = in_double(saved);
  }
  void backward(const Data& d, const Tensor& statistics, Grad grad, Grad parameters, Results& r) const {
    Stream stream(p_.device);
    const Tensor ones = test::filled({p_.c}, DType::f64, 1);
    const Tensor x = put(d.x, p_.dtype, "x"), gamma = put(d.gamma, p_.master(), "gamma"),
                 beta = put(d.beta, p_.master(), "beta"), saved = put(statistics, p_.master(), "saved"),
                 dy = put(d.dy, p_.dtype, "dy"), dx = put(d.start, p_.dtype, "dx"),
                 dgamma = put(ones, p_.master(), "dgamma"), dbeta = put(ones, p_.master(), "dbeta"),
                 scratch = rubbish(kernel_->backward_scratch_bytes(), "scratch");
    kernel_->backward(stream, x.view(), gamma.view(), beta.view(), saved.view(), dy.view(),
                      grad == Grad::ignore ? View{} : dx.view(), grad,
                      parameters == Grad::ignore ? View{} : dgamma.view(),
                      parameters == Grad::ignore ? View{} : dbeta.view(), parameters, scratch.view().data);
    r.dx = in_double(dx), r.dgamma = in_double(dgamma), r.dbeta = in_double(dbeta);
  }

 private:
  NormActProblem p_;
  std::unique_ptr<NormAct> kernel_;
};

// The two may see h on either side of 0 where rounding decides; nothing flows back through there.
void close_kinks(Data& d, const Tensor& y, double near) {
  for (int64_t i = 0; i < y.size(); ++i)
    if (std::abs(y.data<double>()[i]) < near) d.dy.data<double>()[i] = 0;
}

// `conditioning`: how many deviations the mean is from 0; the float of the saved mean is off by as many eps of a
// deviation.
void compare(const NormActProblem& p, double conditioning = 1, double deviation = 1) {
  SCOPED_TRACE(p.describe() + sentence(", mean ", conditioning, " deviations"));
  Data d = data_for(p, 0.3 + (conditioning - 1) * deviation, deviation);
  const Runner reference(p, false), gpu(p, true);
  Results expected, got;
  reference.forward(d, expected);
  gpu.forward(d, got);
  const double rounding = test::unit_roundoff(p.dtype);
  test::expect_near(got.y, expected.y, (kC * kSingle + rounding) * test::largest(expected.y), "y");
  for (int64_t i = 0; i < expected.saved.size(); ++i) {
    const double value = expected.saved.data<double>()[i];
    const double limit = i % 2 ? kC * kSingle * value : kSingle * (std::abs(value) / 2 + kC * deviation);
    EXPECT_NEAR(got.saved.data<double>()[i], value, limit) << (i % 2 ? "1 / deviation " : "mean ") << i / 2;
  }

  close_kinks(d, expected.y, 2 * kC * kSingle * conditioning);
  const double sum = std::sqrt(static_cast<double>(p.n * volume(p.in))) * 3 * test::root_mean_square(d.dy);
  const std::pair<Grad, Grad> modes[] = {{Grad::overwrite, Grad::overwrite},
                                         {Grad::accumulate, Grad::accumulate},
                                         {Grad::ignore, Grad::overwrite},
                                         {Grad::overwrite, Grad::ignore}};
  for (auto [grad, parameters] : modes) {
    SCOPED_TRACE(sentence("modes ", static_cast<int>(grad), ' ', static_cast<int>(parameters)));
    reference.backward(d, expected.saved, grad, parameters, expected);
    gpu.backward(d, expected.saved, grad, parameters, got);
    const double limit = (kC * kSingle * conditioning + rounding) * test::largest(expected.dx);
    test::expect_near(got.dx, expected.dx, grad == Grad::ignore ? 0 : limit, "dx");
    const double single = parameters == Grad::ignore ? 0 : kC * kSingle;  // ignored: every bit stays
    test::expect_near(got.dgamma, expected.dgamma, single * sum * conditioning, "dgamma");
    test::expect_near(got.dbeta, expected.dbeta, single * sum, "dbeta");
  }
}

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

TEST(norm_act, agrees_with_the_reference) {
  for (DType dtype : kTypes)
    for (auto [n, c] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {2, 8}, {1, 12}, {2, 24}, {1, 67}, {2, 72}}) {
      NormActProblem p{n, c, {3, 5, 7}};
      p.dtype = dtype;
      compare(p);
    }
}

TEST(norm_act, many_chunks_agree) {
  for (int64_t c : {1, 8, 33}) compare({1, c, {17, 13, 23}});
}

TEST(norm_act, groups_agree) {
  for (DType dtype : kTypes)
    for (auto [c, groups] : {std::pair<int64_t, int64_t>{8, 8}, {8, 1}, {33, 3}, {128, 2}}) {
      NormActProblem p{2, c, {4, 5, 6}};
      p.groups = groups;
      p.slope = 0;
      p.dtype = dtype;
      compare(p);
    }
}

TEST(norm_act, a_far_mean_costs_no_accuracy) {
  for (double deviations : {100.0, 1000.0}) {
    for (int64_t c : {3, 8}) compare({2, c, {7, 11, 8}}, deviations);
    compare({1, 4, {7, 11, 8}}, deviations, 1e-2);
    NormActProblem p{2, 8, {7, 11, 8}};
    p.dtype = DType::f16;
    compare(p, deviations);
    p.groups = 2;
    compare(p, deviations);
  }
}

TEST(norm_act, an_outlying_first_voxel_costs_no_accuracy) {
  const NormActProblem p{1, 1, {8, 16, 16}};
  Data d = data_for(p);
  d.x.data<double>()[0] = 4096;
  Results expected, got;
  Runner(p, false).forward(d, expected);
  Runner(p, true).forward(d, got);
  EXPECT_NEAR(got.saved.data<double>()[1] / expected.saved.data<double>()[1], 1, 4 * kSingle);
}

TEST(norm_act, one_voxel_has_no_variance) {
  for (int64_t c : {5, 8}) {
    const NormActProblem p{2, c, {1, 1, 1}};
    const Data d = data_for(p);
    Results r;
    const Runner gpu(p, true);
    gpu.forward(d, r);
    for (int64_t i = 0; i < 2 * c; ++i) {
      const double beta = d.beta.data<double>()[i % c];
      EXPECT_NEAR(r.y.data<double>()[i], beta > 0 ? beta : 0.01 * beta, kSingle);
      EXPECT_NEAR(r.saved.data<double>()[2 * i + 1], 1 / std::sqrt(p.eps), 1e-4);
    }
    gpu.backward(d, r.saved, Grad::overwrite, Grad::overwrite, r);
    EXPECT_LE(test::largest(r.dx), 2 * kSingle * test::largest(d.dy) / std::sqrt(p.eps));
  }
}

TEST(norm_act, works_in_place_and_repeats_its_bits_under_every_schedule) {
  for (int64_t c : {3, 8}) {
    const NormActProblem p{2, c, {9, 7, 8}};
    const Data d = data_for(p);
    Runner gpu(p, true);
    Results first;
    gpu.forward(d, first);
    gpu.backward(d, first.saved, Grad::overwrite, Grad::overwrite, first);
    under_every_schedule([&] {
      Stream stream(test::kGpu);
      const Tensor x = gpu.put(d.x, p.dtype, "x"), y = gpu.put(d.x, p.dtype, "y in x"),
                   gamma = gpu.put(d.gamma, DType::f32, "gamma"), beta = gpu.put(d.beta, DType::f32, "beta"),
                   dy = gpu.put(d.dy, p.dtype, "dx in dy"),
                   saved = Tensor::empty(p.saved_shape(), DType::f32, test::kGpu, "saved"),
                   forward = gpu.rubbish(gpu.kernel().forward_scratch_bytes(), "scratch"),
                   backward = gpu.rubbish(gpu.kernel().backward_scratch_bytes(), "scratch");
      gpu.kernel().forward(stream, y.view(), {}, gamma.view(), beta.view(), y.view(), saved.view(),
                           forward.view().data);
      gpu.kernel().backward(stream, x.view(), gamma.view(), beta.view(), saved.view(), dy.view(), dy.view(),
                            Grad::overwrite, {}, {}, Grad::ignore, backward.view().data);
      test::expect_near(in_double(y), first.y, 0, "y");
      test::expect_near(in_double(saved), first.saved, 0, "saved");
      test::expect_near(in_double(dy), first.dx, 0, "dx");
      Results again;
      gpu.backward(d, first.saved, Grad::overwrite, Grad::overwrite, again);
      test::expect_near(again.dgamma, first.dgamma, 0, "dgamma");
      test::expect_near(again.dbeta, first.dbeta, 0, "dbeta");
    });
  }
}

// In chunks of 1, 7, none and all other voxels, with origins of any kind.
TEST(norm_act, takes_moments_that_are_given) {
  for (const auto& [groups, deviations] : {std::pair{0, 1.0}, {0, 1000.0}, {2, 100.0}}) {
    NormActProblem p{2, 8, {5, 6, 7}};
    p.groups = groups;
    const Data d = data_for(p, 0.3 + deviations);
    Results expected;
    Runner(p, false).forward(d, expected);
    const int64_t voxels = volume(p.in), ends[] = {0, 1, 8, 8, voxels};
    p.moment_chunks = 4;
    const Tensor moments = Tensor::empty(moments_shape(p.n, p.c, p.moment_chunks), DType::f64);
    for (int64_t i = 0; i < p.n * p.c * 4; ++i) {
      const int64_t first = ends[i % 4], count = ends[i % 4 + 1] - first, n = i / 4 / p.c, c = i / 4 % p.c;
      const auto x = [&](int64_t v) { return d.x.data<double>()[(n * voxels + first + v) * p.c + c]; };
      double mean = 0, square = 0;
      for (int64_t v = 0; v < count; ++v) mean += x(v) / static_cast<double>(count);
      for (int64_t v = 0; v < count; ++v) square += (x(v) - mean) * (x(v) - mean);
      const auto origin = static_cast<double>(static_cast<float>(mean + 0.1 * static_cast<double>(i % 5)));
      const double of_chunk[] = {origin, mean - origin, square, static_cast<double>(count)};
      for (int k = 0; k < 4; ++k) moments.data<double>()[4 * i + k] = count == 0 && k < 3 ? NAN : of_chunk[k];
    }
    const Runner gpu(p, true);
    Results got;
    gpu.forward(d, got, on_gpu(moments, DType::f32, "moments"));
    test::expect_near(got.y, expected.y, kC * kSingle * test::largest(expected.y), "y");
    test::expect_near(got.saved, expected.saved, kSingle * (test::largest(expected.saved) / 2 + kC), "saved");
  }
}

TEST(norm_act, declines_f64) {
  NormActProblem p{1, 8, {4, 4, 4}};
  p.dtype = DType::f64;
  p.device = test::kGpu;
  EXPECT_THROW(norm_act().prepare(p, {test::kGpu, DType::f64, "native"}), Error);
}

}  // namespace
}  // namespace metvox
