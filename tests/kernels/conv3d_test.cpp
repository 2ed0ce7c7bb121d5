// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv3d.h"

#include "kernels/cpu/isa.h"
#include "tests/support/whole_numbers.h"

namespace metvox {
namespace {

using test::Guarded;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// One problem's tensors in f64, and what the passes make of them. x2 and dx2 are empty without a second input.
struct Data {
  Tensor x, x2, w, b, dy;
};
struct Results {
  Tensor y, dx, dx2, dw, db;
};

Data data_for(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  Data d{test::whole_numbers(p.x_shape(), random),
         {},
         test::whole_numbers(p.w_shape(), random),
         test::whole_numbers({p.k}, random, 3),
         test::whole_numbers(p.y_shape(), random)};
  if (p.c2) d.x2 = test::whole_numbers(p.x2_shape(), random);
  return d;
}

Data in_types_of(const Conv3dProblem& p, const Data& d) {
  return {test::converted(d.x, p.dtype), test::converted(d.x2, p.dtype), test::converted(d.w, p.master()),
          test::converted(d.b, p.master()), test::converted(d.dy, p.dtype)};
}

Tensor forward(const Conv3dForward& kernel, const Conv3dProblem& p, const Data& d) {
  Stream stream;
  Guarded packed(kernel.packed_bytes()), scratch(kernel.scratch_bytes());
  Tensor y = test::filled(p.y_shape(), p.dtype, kNan);
  kernel.pack(stream, d.w.view(), d.b.view(), packed.data());
  kernel.run(stream, d.x.view(), d.x2.view(), packed.data(), y.view(), scratch.data());
  return y;
}

// The gradients start as NaN when overwritten, as 5 when added to.
double start(Grad grad) { return grad == Grad::accumulate ? 5 : kNan; }

void backward_data(const Conv3dBackwardData& kernel, const Conv3dProblem& p, const Data& d, Grad grad, Results& r) {
  Stream stream;
  Guarded packed(kernel.packed_bytes()), scratch(kernel.scratch_bytes());
  r.dx = test::filled(p.x_shape(), p.dtype, start(grad));
  if (p.c2) r.dx2 = test::filled(p.x2_shape(), p.dtype, start(grad));
  kernel.pack(stream, d.w.view(), packed.data());
  kernel.run(stream, d.dy.view(), packed.data(), r.dx.view(), grad, r.dx2.view(), p.c2 ? grad : Grad::ignore,
             scratch.data());
}

void backward_weights(const Conv3dBackwardWeights& kernel, const Conv3dProblem& p, const Data& d, Grad grad,
                      Results& r) {
  Stream stream;
  Guarded scratch(kernel.scratch_bytes());
  r.dw = test::filled(p.w_shape(), p.master(), start(grad));
  r.db = test::filled({p.k}, p.master(), start(grad));
  kernel.run(stream, d.x.view(), d.x2.view(), d.dy.view(), r.dw.view(), r.db.view(), grad, scratch.data());
}

// The engine's kernel, or nothing when it declines, which it must do with a reason.
template <class Kernel>
std::unique_ptr<Kernel> made(const Engine<Conv3dProblem, Kernel>& engine, const Conv3dProblem& p) {
  const auto reason = engine.declines(p);
  if (!reason) return engine.make(p);
  EXPECT_FALSE(reason->empty()) << engine.name;
  return nullptr;
}

template <class Table>
auto reference_of(const Table& table, const Conv3dProblem& p) {
  return table.prepare(p, Target{.device = {}, .dtype = p.dtype, .engine = "reference"}).kernel;
}

Results expected_for(Conv3dProblem p, const Data& d, Grad grad) {
  p.dtype = DType::f64;
  Results r;
  r.y = forward(*reference_of(conv3d_forward(), p), p, d);
  backward_data(*reference_of(conv3d_backward_data(), p), p, d, grad, r);
  backward_weights(*reference_of(conv3d_backward_weights(), p), p, d, grad, r);
  return r;
}

// Every pass of every engine that takes the problem, against the reference in double, exactly. Counts the engines that
// took it.
int expect_engines_agree(Conv3dProblem p, uint64_t seed) {
  int taken = 0;
  const Data d = data_for(p, seed);
  for (Grad grad : {Grad::overwrite, Grad::accumulate}) {
    const Results expected = expected_for(p, d, grad);
    for (DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      p.dtype = dtype;
      const Data typed = in_types_of(p, d);
      const auto where = [&](std::string_view engine) { return sentence(engine, " ", p.describe(), " seed ", seed); };
      for (const auto& e : conv3d_forward().engines())
        if (const auto kernel = made(e, p); kernel && grad == Grad::overwrite) {
          test::expect_exactly(forward(*kernel, p, typed), expected.y, "y " + where(e.name));
          ++taken;
        }
      for (const auto& e : conv3d_backward_data().engines())
        if (const auto kernel = made(e, p); kernel && (grad == Grad::overwrite || kernel->accumulates())) {
          Results r;
          backward_data(*kernel, p, typed, grad, r);
          test::expect_exactly(r.dx, expected.dx, "dx " + where(e.name));
          if (p.c2) test::expect_exactly(r.dx2, expected.dx2, "dx2 " + where(e.name));
          ++taken;
        }
      for (const auto& e : conv3d_backward_weights().engines())
        if (const auto kernel = made(e, p)) {
          Results r;
          backward_weights(*kernel, p, typed, grad, r);
          test::expect_exactly(r.dw, expected.dw, "dw " + where(e.name));
          if (p.bias) test::expect_exactly(r.db, expected.db, "db " + where(e.name));
          ++taken;
        }
    }
  }
  return taken;
}

Tensor doubles(const Shape& shape, std::initializer_list<double> values) {
  Tensor t = Tensor::empty(shape, DType::f64);
  std::copy(values.begin(), values.end(), t.data<double>());
  return t;
}

}  // namespace

// A 2x2x2 image, all of it under the one position of a 2x2x2 kernel.
TEST(conv3d, by_hand) {
  const Conv3dProblem p{.n = 1,
                        .c = 1,
                        .k = 2,
                        .in = {2, 2, 2},
                        .kernel = {2, 2, 2},
                        .pad = {0, 0, 0},
                        .bias = true,
                        .dtype = DType::f64};
  const Data d{doubles(p.x_shape(), {1, 2, 3, 4, 5, 6, 7, 8}),
               {},
               doubles(p.w_shape(), {1, 0, 0, 0, 0, 0, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0}),
               doubles({2}, {100, 200}),
               doubles(p.y_shape(), {3, 5})};
  test::expect_exactly(forward(*reference_of(conv3d_forward(), p), p, d), doubles(p.y_shape(), {181, 202}), "y");
  Results r;
  backward_data(*reference_of(conv3d_backward_data(), p), p, d, Grad::overwrite, r);
  test::expect_exactly(r.dx, doubles(p.x_shape(), {3, 5, 0, 0, 0, 0, 0, 30}), "dx");
  backward_weights(*reference_of(conv3d_backward_weights(), p), p, d, Grad::accumulate, r);
  test::expect_exactly(r.dw, doubles(p.w_shape(), {8, 11, 14, 17, 20, 23, 26, 29, 10, 15, 20, 25, 30, 35, 40, 45}),
                       "dw");
  test::expect_exactly(r.db, doubles({2}, {8, 10}), "db");
}

// A corner of a padded image sees 8 of its 27 taps, an edge 12, a face 18, the inside all.
TEST(conv3d, padding_is_zero) {
  const Conv3dProblem p{.in = {3, 3, 3}, .dtype = DType::f64};
  const Data d{test::filled(p.x_shape(), DType::f64, 1), {}, test::filled(p.w_shape(), DType::f64, 1), {}, {}};
  const Tensor y = forward(*reference_of(conv3d_forward(), p), p, d);
  test::expect_exactly(y, doubles(p.y_shape(), {8,  12, 8,  12, 18, 12, 8, 12, 8,  12, 18, 12, 18, 27,
                                                18, 12, 18, 12, 8,  12, 8, 12, 18, 12, 8,  12, 8}),
                       "y");
}

TEST(conv3d, engines_agree_on_the_shapes_of_networks) {
  const Conv3dProblem base{.n = 2, .c = 8, .k = 8, .in = {4, 5, 9}};
  std::vector<Conv3dProblem> problems;
  const auto add = [&](auto change) {
    problems.push_back(base);
    change(problems.back());
  };
  add([](auto&) {});
  add([](auto& p) { p.c = 4, p.bias = true; });
  add([](auto& p) { p.c2 = 8, p.bias = true; });
  add([](auto& p) { p.c = 5, p.c2 = 11, p.k = 13; });
  add([](auto& p) { p.k = 16, p.stride = {2, 2, 2}; });
  add([](auto& p) { p.c = 16, p.c2 = 16, p.k = 16, p.n = 3; });
  add([](auto& p) { p.c = 32, p.k = 32, p.in = {3, 4, 5}; });
  add([](auto& p) { p.kernel = {1, 3, 3}, p.pad = {0, 1, 1}, p.stride = {1, 2, 2}; });
  add([](auto& p) { p.kernel = {1, 1, 1}, p.pad = {0, 0, 0}, p.k = 3, p.bias = true; });
  add([](auto& p) { p.kernel = {1, 1, 1}, p.pad = {0, 0, 0}, p.c = 32, p.k = 4, p.bias = true; });
  add([](auto& p) { p.pad = {0, 0, 0}, p.n = 1; });
  add([](auto& p) { p.in = {1, 1, 1}, p.bias = true; });
  add([](auto& p) { p.in = {1, 1, 70}, p.n = 1; });
  add([](auto& p) { p.in = {2, 2, 2}, p.stride = {2, 2, 2}, p.c = 1, p.k = 1; });
  add([](auto& p) { p.in = {3, 6, 5}, p.stride = {2, 2, 2}, p.k = 16; });  // oneDNN 2.6.3 is wrong here in bf16,
  add([](auto& p) { p.in = {2, 6, 5}, p.stride = {2, 2, 2}, p.c = 16, p.c2 = 24, p.k = 16, p.bias = true; });
  add([](auto& p) { p.kernel = {1, 1, 1}, p.pad = {0, 0, 0}, p.c = 16, p.c2 = 3, p.k = 5; });  // and here
  add([](auto& p) { p.c = 3, p.c2 = 5, p.k = 7, p.in = {3, 20, 60}, p.bias = true, p.n = 1; });
  uint64_t seed = 1;
  for (const Conv3dProblem& p : problems) {
    expect_engines_agree(p, seed++);
    if (HasFatalFailure()) return;
  }
}

TEST(conv3d, engines_agree_or_decline_on_random_problems) {
  Random random(2026, 11);
  const auto one_of = [&](std::initializer_list<int64_t> list) {
    return list.begin()[random.below(static_cast<int64_t>(list.size()))];
  };
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Conv3dProblem p{.n = one_of({1, 2, 3}),
                    .c = one_of({1, 3, 4, 8, 12, 16, 17}),
                    .c2 = one_of({0, 0, 1, 8, 16}),
                    .k = one_of({1, 2, 3, 5, 8, 16, 20})};
    for (int a = 0; a < 3; ++a) {
      p.in[a] = 1 + random.below(8);
      p.kernel[a] = one_of({1, 3});
      p.stride[a] = one_of({1, 1, 2});
      p.pad[a] = one_of({0, 1});
    }
    p.bias = random.below(2) == 1;
    const Int3 out = p.out();
    if (std::min({out[0], out[1], out[2]}) < 1) {
      EXPECT_THROW(p.validate(), Error) << p.describe();
      continue;
    }
    EXPECT_GE(expect_engines_agree(p, seed), 15) << p.describe();  // the reference in three types, at least
    if (HasFatalFailure()) return;
  }
}

TEST(conv3d, onednn_takes_f32_and_refuses_f64_and_f16) {
  Conv3dProblem p{.n = 1, .c = 8, .k = 8, .in = {8, 8, 8}};
  for (const auto& e : conv3d_forward().engines()) {
    if (e.name != "onednn") continue;
    for (auto [dtype, taken] : {std::pair{DType::f32, true}, {DType::f64, false}, {DType::f16, false}}) {
      p.dtype = dtype;
      EXPECT_EQ(!e.declines(p).has_value(), taken) << p.describe();
    }
  }
}

// Named by --engine, an engine trains heads of three regions and the layer under them in its own type.
TEST(conv3d, a_named_engine_takes_the_layers_of_a_network) {
  const Conv3dProblem heads{
      .n = 1, .c = 32, .k = 3, .in = {4, 5, 6}, .kernel = {1, 1, 1}, .pad = {0, 0, 0}, .bias = true};
  const Conv3dProblem wide{.n = 1, .c = 32, .k = 32, .in = {4, 5, 6}};
  for (const char* engine : {"native", "onednn"})
    for (Conv3dProblem p : {heads, wide})
      for (DType dtype : {DType::f32, DType::bf16}) {
        p.dtype = dtype;
        if (dtype == DType::bf16 && !has_bf16_instructions()) continue;
        const Target target{.device = {}, .dtype = dtype, .engine = engine};
        EXPECT_EQ(conv3d_forward().prepare(p, target).engine, engine) << p.describe();
        EXPECT_EQ(conv3d_backward_data().prepare(p, target).engine, engine) << p.describe();
        EXPECT_EQ(conv3d_backward_weights().prepare(p, target).engine, engine) << p.describe();
      }
}

// Two convolutions, the second adding to the first, are one convolution of the concatenation.
TEST(conv3d, two_inputs_are_their_concatenation) {
  const Conv3dProblem two{.n = 2, .c = 3, .c2 = 5, .k = 4, .in = {4, 5, 6}, .dtype = DType::f64};
  Conv3dProblem one = two;
  one.c = 8, one.c2 = 0;
  const Data d = data_for(two, 9);
  Data joined = d;
  joined.x2 = {};
  joined.x = Tensor::empty(one.x_shape(), DType::f64);
  for (int64_t v = 0; v < 2 * volume(one.in); ++v)
    for (int64_t c = 0; c < 8; ++c)
      joined.x.data<double>()[v * 8 + c] = c < 3 ? d.x.data<double>()[v * 3 + c] : d.x2.data<double>()[v * 5 + c - 3];
  const Results a = expected_for(two, d, Grad::overwrite), b = expected_for(one, joined, Grad::overwrite);
  test::expect_exactly(a.y, b.y, "y");
  test::expect_exactly(a.dw, b.dw, "dw");
}

TEST(conv3d, refuses_wrong_views) {
  const Conv3dProblem p{.n = 1, .c = 2, .k = 2, .in = {3, 3, 3}};
  Stream stream;
  for (const auto& e : conv3d_forward().engines()) {
    if (e.device != Device::Kind::cpu) continue;
    const auto kernel = e.make(p);
    Guarded packed(kernel->packed_bytes());
    EXPECT_THROW(kernel->pack(stream, Tensor::zeros({2, 3, 3, 3, 3}, DType::f32).view(), {}, packed.data()), Error)
        << e.name;
    EXPECT_THROW(kernel->pack(stream, Tensor::zeros(p.w_shape(), DType::f64).view(), {}, packed.data()), Error)
        << e.name;
  }
}

}  // namespace metvox
