// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv3d on the simulated GPU against the reference in double: exactly where sums are exact, by norm
// on numbers that round.
#include "kernels/conv3d.h"

#include <ctime>

#include "tests/kernels/cuda/sim_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::kSim;
using test::on_sim;

const DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

// f64, on the host. x2 and dx2 are empty without a second input.
struct Data {
  Tensor x, x2, w, b, dy;
};
struct Results {
  Tensor y, dx, dx2, dw, db;
};

Data whole(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return test::whole_numbers(shape, random); };
  Data d{numbers(p.x_shape()), {}, numbers(p.w_shape()), test::whole_numbers({p.k}, random, 3), numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

Data real(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return test::normal_numbers(shape, random, DType::f32); };
  Data d{numbers(p.x_shape()), {}, numbers(p.w_shape()), numbers({p.k}), numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

Tensor bytes_on(Device device, size_t bytes, const char* name) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device, name);
}

// Every tensor in an allocation of its own, poison where it is written. What is added to starts as 5.
class Runner {
 public:
  Runner(const Conv3dProblem& p, const Data& d, Grad grad) : p_(p), grad_(grad), stream_(p.device) {
    x_ = placed(d.x, p.dtype, "x"), w_ = placed(d.w, p.master(), "w"), b_ = placed(d.b, p.master(), "b");
    dy_ = placed(d.dy, p.dtype, "dy");
    if (p.c2) x2_ = placed(d.x2, p.dtype, "x2");
  }

  Tensor forward() {
    const auto kernel = conv3d_forward().prepare(p_, target()).kernel;
    const Tensor packed = bytes_on(p_.device, kernel->packed_bytes(), "packed"),
                 scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 y = Tensor::empty(p_.y_shape(), p_.dtype, p_.device, "y");
    kernel->pack(stream_, w_.view(), b_.view(), packed.view().data);
    kernel->run(stream_, x_.view(), x2_.view(), packed.view().data, y.view(), scratch.view().data);
    return in_double(y);
  }

  void backward_data(Results& r) {
    const auto kernel = conv3d_backward_data().prepare(p_, target()).kernel;
    const Tensor packed = bytes_on(p_.device, kernel->packed_bytes(), "packed"),
                 scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 dx = gradient(p_.x_shape(), p_.dtype, "dx"),
                 dx2 = p_.c2 ? gradient(p_.x2_shape(), p_.dtype, "dx2") : Tensor();
    kernel->pack(stream_, w_.view(), packed.view().data);
    kernel->run(stream_, dy_.view(), packed.view().data, dx.view(), grad_, dx2.view(), p_.c2 ? grad_ : Grad::ignore,
                scratch.view().data);
    r.dx = in_double(dx);
    if (p_.c2) r.dx2 = in_double(dx2);
  }

  void backward_weights(Results& r) {
    const auto kernel = conv3d_backward_weights().prepare(p_, target()).kernel;
    const Tensor scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 dw = gradient(p_.w_shape(), p_.master(), "dw"), db = gradient({p_.k}, p_.master(), "db");
    kernel->run(stream_, x_.view(), x2_.view(), dy_.view(), dw.view(), db.view(), grad_, scratch.view().data);
    r.dw = in_double(dw);
    if (p_.bias) r.db = in_double(db);
  }

 private:
  Target target() const { return {p_.device, p_.dtype, p_.device.is_cpu() ? "reference" : "native"}; }
  Tensor placed(const Tensor& from, DType dtype, const char* name) const {
    return p_.device.is_cpu() ? from : on_sim(from, dtype, name);
  }
  Tensor gradient(const Shape& shape, DType dtype, const char* name) const {
    const Tensor t = Tensor::empty(shape, dtype, p_.device, name);
    return grad_ == Grad::accumulate ? placed(test::filled(shape, DType::f64, 5), dtype, name) : t;
  }

  Conv3dProblem p_;
  Grad grad_;
  Stream stream_;
  Tensor x_, x2_, w_, b_, dy_;
};

Results results_of(const Conv3dProblem& p, const Data& d, Grad grad) {
  Runner runner(p, d, grad);
  Results r;
  r.y = runner.forward();
  runner.backward_data(r);
  runner.backward_weights(r);
  return r;
}

Results expected_for(Conv3dProblem p, const Data& d, Grad grad) {
  p.dtype = DType::f64, p.device = {};
  return results_of(p, d, grad);
}

Conv3dProblem on_sim(Conv3dProblem p, DType dtype) {
  p.dtype = dtype, p.device = kSim;
  return p;
}

void expect_same(const Results& got, const Results& expected, const std::string& what) {
  test::expect_near(got.y, expected.y, 0, "y " + what);
  test::expect_near(got.dx, expected.dx, 0, "dx " + what);
  if (expected.dx2) test::expect_near(got.dx2, expected.dx2, 0, "dx2 " + what);
  test::expect_near(got.dw, expected.dw, 0, "dw " + what);
  if (expected.db) test::expect_near(got.db, expected.db, 0, "db " + what);
}

// Every type; gradients are added to in the last one.
void expect_exact(const Conv3dProblem& p, uint64_t seed, std::initializer_list<DType> types) {
  const Data d = whole(p, seed);
  const auto expect_passes = [&](DType dtype, Grad grad, const Results& expected) {
    const Conv3dProblem q = on_sim(p, dtype);
    expect_same(results_of(q, d, grad), expected, sentence(q.describe(), " seed ", seed));
  };
  const Results expected = expected_for(p, d, Grad::overwrite);
  ASSERT_LE(test::largest(expected.y), 256) << "the test's own sums are not exact in bf16";
  for (DType dtype : types) expect_passes(dtype, Grad::overwrite, expected);
  expect_passes(*std::prev(types.end()), Grad::accumulate, expected_for(p, d, Grad::accumulate));
}

double apart(const Tensor& got, const Tensor& expected) {
  Tensor difference = got.clone();
  for (int64_t i = 0; i < got.size(); ++i) difference.data<double>()[i] -= expected.data<double>()[i];
  return test::root_mean_square(difference) / test::root_mean_square(expected);
}

Conv3dProblem with(std::initializer_list<int64_t> nck, Int3 in, Int3 kernel = {3, 3, 3}, Int3 stride = {1, 1, 1},
                   Int3 pad = {1, 1, 1}, bool bias = true) {
  const auto* v = nck.begin();
  return {.n = v[0],
          .c = v[1],
          .c2 = v[2],
          .k = v[3],
          .in = in,
          .kernel = kernel,
          .stride = stride,
          .pad = pad,
          .bias = bias};
}

}  // namespace

// n, c, c2, k.
TEST(conv3d, is_exact_on_the_shapes_of_networks) {
  const auto types = {DType::f32, DType::bf16, DType::f16};
  expect_exact(with({2, 16, 0, 16}, {4, 5, 6}), 1, types);
  expect_exact(with({1, 4, 0, 32}, {3, 4, 7}), 2, types);
  expect_exact(with({1, 16, 8, 32}, {3, 4, 5}), 3, types);
  expect_exact(with({1, 32, 0, 64}, {4, 6, 5}, {3, 3, 3}, {2, 2, 2}), 4, types);
  expect_exact(with({1, 8, 0, 16}, {3, 6, 5}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}), 5, types);
  expect_exact(with({2, 32, 0, 3}, {3, 4, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}), 6, types);
  expect_exact(with({1, 16, 0, 7}, {2, 3, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}), 9, types);
  expect_exact(with({1, 64, 64, 72}, {2, 2, 2}), 7, {DType::f32, DType::bf16});  // split along K
  expect_exact(with({1, 24, 0, 144}, {2, 3, 3}), 8, {DType::bf16});              // two tiles of 128 columns
}

TEST(conv3d, is_exact_on_odd_channels_and_corners) {
  const auto types = {DType::f32, DType::bf16, DType::f16};
  expect_exact(with({2, 5, 3, 7}, {3, 4, 5}), 11, types);
  expect_exact(with({1, 1, 0, 1}, {1, 1, 1}), 12, types);
  expect_exact(with({1, 33, 0, 17}, {2, 3, 4}, {3, 3, 3}, {2, 1, 2}), 13, types);
  expect_exact(with({3, 8, 0, 8}, {1, 1, 70}, {3, 3, 3}, {1, 1, 2}), 14, types);
  expect_exact(with({1, 8, 4, 20}, {4, 4, 4}, {1, 1, 1}, {2, 2, 2}, {0, 0, 0}), 15, types);  // voxels without a tap
  expect_exact(with({1, 12, 0, 6}, {5, 5, 5}, {3, 3, 3}, {2, 2, 2}, {0, 0, 0}), 16, types);
}

TEST(conv3d, is_exact_on_random_problems) {
  Random random(2026, 11);
  const auto one_of = [&](std::initializer_list<int64_t> list) {
    return list.begin()[random.below(static_cast<int64_t>(list.size()))];
  };
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Conv3dProblem p{.n = one_of({1, 2, 3}),
                    .c = one_of({1, 3, 4, 8, 12, 16, 17}),
                    .c2 = one_of({0, 0, 1, 8, 16}),
                    .k = one_of({1, 2, 3, 5, 8, 16, 20, 40})};
    for (int a = 0; a < 3; ++a) {
      p.in[a] = 1 + random.below(7);
      p.kernel[a] = one_of({1, 3});
      p.stride[a] = one_of({1, 1, 2});
      p.pad[a] = one_of({0, 1, 2});
    }
    p.bias = random.below(2) == 1;
    const Int3 out = p.out();
    if (std::min({out[0], out[1], out[2]}) < 1) continue;
    expect_exact(p, seed, {kTypes[seed % 3]});
    if (HasFatalFailure()) return;
  }
}

TEST(conv3d, rounds_as_its_type_does) {
  for (const Conv3dProblem& p : {with({1, 32, 32, 32}, {4, 5, 6}), with({1, 64, 0, 64}, {3, 3, 3})}) {
    const Data d = real(p, 5);
    const Results expected = expected_for(p, d, Grad::overwrite);
    for (auto [dtype, limit] : {std::pair{DType::f32, 1e-5}, {DType::f16, 1e-3}, {DType::bf16, 1e-2}}) {
      const Results got = results_of(on_sim(p, dtype), d, Grad::overwrite);
      EXPECT_LT(apart(got.y, expected.y), limit) << name_of(dtype);
      EXPECT_LT(apart(got.dx, expected.dx), limit) << name_of(dtype);
      EXPECT_LT(apart(got.dw, expected.dw), limit) << name_of(dtype);
      EXPECT_LT(apart(got.db, expected.db), limit) << name_of(dtype);
    }
  }
}

TEST(conv3d, gives_one_answer_under_every_schedule) {
  const Conv3dProblem p = with({1, 16, 8, 24}, {3, 4, 5}, {3, 3, 3}, {1, 2, 1});
  const Data d = whole(p, 3);
  const Results expected = expected_for(p, d, Grad::overwrite);
  for (DType dtype : kTypes)
    under_every_schedule(
        [&] { expect_same(results_of(on_sim(p, dtype), d, Grad::overwrite), expected, std::string(name_of(dtype))); });
}

// 64 KiB of shared memory a block, f16 alone on tensor cores.
TEST(conv3d, fits_sm_75) {
  const auto before = simt::options();
  simt::options().arch = 750;
  expect_exact(with({1, 24, 0, 128}, {2, 3, 3}), 8, {DType::f32, DType::f16});
  simt::options() = before;
}

TEST(conv3d, leaves_alone_what_is_ignored) {
  const Conv3dProblem p = on_sim(with({1, 16, 8, 16}, {3, 4, 5}), DType::bf16);
  const Data d = whole(p, 4);
  const Results expected = expected_for(p, d, Grad::overwrite);
  const auto kernel = conv3d_backward_data().prepare(p, {kSim, p.dtype, "native"}).kernel;
  const Tensor packed = bytes_on(kSim, kernel->packed_bytes(), "packed"),
               scratch = bytes_on(kSim, kernel->scratch_bytes(), "scratch"), w = on_sim(d.w, DType::f32, "w"),
               dy = on_sim(d.dy, p.dtype, "dy"), dx2 = Tensor::empty(p.x2_shape(), p.dtype, kSim, "dx2");
  Stream stream(kSim);
  kernel->pack(stream, w.view(), packed.view().data);
  kernel->run(stream, dy.view(), packed.view().data, {}, Grad::ignore, dx2.view(), Grad::overwrite,
              scratch.view().data);
  test::expect_near(in_double(dx2), expected.dx2, 0, "dx2");
}

TEST(conv3d, declines_what_it_cannot) {
  Conv3dProblem p = on_sim(with({1, 8, 0, 8}, {4, 4, 4}), DType::bf16);
  const auto refused = [&] {
    for (const auto& e : conv3d_forward().engines())
      if (e.device == Device::Kind::sim && e.name == "native") return e.declines(p).value_or("");
    return std::string("no such engine");
  };
  EXPECT_EQ(refused(), "");
  const auto before = simt::options();
  simt::options().arch = 750;
  EXPECT_EQ(refused(), "bf16 needs sm_80");
  simt::options() = before;
  p.dtype = DType::f64;
  EXPECT_EQ(refused(), "no f64 on a GPU");
  p.dtype = DType::f32, p.kernel = {1, 9, 1};
  EXPECT_NE(refused(), "");
  p.device = {};
  EXPECT_NE(refused(), "");
}

// The figure of the simulator: at most 60 ms plain, 350 ms checked.
TEST(conv3d, of_the_size_that_is_timed) {
  const Conv3dProblem p = on_sim(with({1, 16, 0, 16}, {16, 16, 16}), DType::bf16);
  const Data d = whole(p, 6);
  Runner runner(p, d, Grad::overwrite);
  const std::clock_t start = std::clock();
  const Tensor y = runner.forward();
  RecordProperty("forward_cpu_ms", std::to_string(1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC));
  Conv3dProblem q = p;
  q.dtype = DType::f64, q.device = {};
  test::expect_near(y, Runner(q, d, Grad::overwrite).forward(), 0, "y");
}

}  // namespace metvox
