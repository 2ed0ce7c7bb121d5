// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv_transpose3d.h"

#include "tests/support/whole_numbers.h"

namespace metvox {
namespace {

using test::Guarded;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Data {
  Tensor x, w, b, dy;
};

Data data_for(const ConvTranspose3dProblem& p, uint64_t seed) {
  Random random(seed, 1);
  return {test::whole_numbers(p.x_shape(), random), test::whole_numbers(p.w_shape(), random),
          test::whole_numbers({p.k}, random, 3), test::whole_numbers(p.y_shape(), random)};
}

Tensor forward(const ConvTranspose3dForward& kernel, const ConvTranspose3dProblem& p, const Data& d) {
  Stream stream;
  Guarded packed(kernel.packed_bytes()), scratch(kernel.scratch_bytes());
  Tensor y = test::filled(p.y_shape(), p.dtype, kNan);
  kernel.pack(stream, d.w.view(), d.b.view(), packed.data());
  kernel.run(stream, d.x.view(), packed.data(), y.view(), scratch.data());
  return y;
}

double start(Grad grad) { return grad == Grad::accumulate ? 5 : kNan; }

Tensor backward_data(const ConvTranspose3dBackwardData& kernel, const ConvTranspose3dProblem& p, const Data& d,
                     Grad grad) {
  Stream stream;
  Guarded packed(kernel.packed_bytes()), scratch(kernel.scratch_bytes());
  Tensor dx = test::filled(p.x_shape(), p.dtype, start(grad));
  kernel.pack(stream, d.w.view(), packed.data());
  kernel.run(stream, d.dy.view(), packed.data(), dx.view(), grad, scratch.data());
  return dx;
}

std::pair<Tensor, Tensor> backward_weights(const ConvTranspose3dBackwardWeights& kernel,
                                           const ConvTranspose3dProblem& p, const Data& d, Grad grad) {
  Stream stream;
  Guarded scratch(kernel.scratch_bytes());
  Tensor dw = test::filled(p.w_shape(), p.master(), start(grad)), db = test::filled({p.k}, p.master(), start(grad));
  kernel.run(stream, d.x.view(), d.dy.view(), dw.view(), db.view(), grad, scratch.data());
  return {dw, db};
}

template <class Kernel>
std::unique_ptr<Kernel> made(const Engine<ConvTranspose3dProblem, Kernel>& engine, const ConvTranspose3dProblem& p) {
  const auto reason = engine.declines(p);
  if (!reason) return engine.make(p);
  EXPECT_FALSE(reason->empty()) << engine.name;
  return nullptr;
}

template <class Table>
auto reference_of(const Table& table, const ConvTranspose3dProblem& p) {
  return table.prepare(p, Target{.device = {}, .dtype = p.dtype, .engine = "reference"}).kernel;
}

void expect_engines_agree(ConvTranspose3dProblem p, uint64_t seed) {
  const Data d = data_for(p, seed);
  p.dtype = DType::f64;
  const Tensor y = forward(*reference_of(conv_transpose3d_forward(), p), p, d);
  for (Grad grad : {Grad::overwrite, Grad::accumulate}) {
    p.dtype = DType::f64;
    const Tensor dx = backward_data(*reference_of(conv_transpose3d_backward_data(), p), p, d, grad);
    const auto [dw, db] = backward_weights(*reference_of(conv_transpose3d_backward_weights(), p), p, d, grad);
    for (DType dtype : {DType::f32, DType::bf16}) {
      p.dtype = dtype;
      const Data typed{test::converted(d.x, dtype), test::converted(d.w, p.master()), test::converted(d.b, p.master()),
                       test::converted(d.dy, dtype)};
      const auto where = [&](std::string_view engine) { return sentence(engine, " ", p.describe(), " seed ", seed); };
      for (const auto& e : conv_transpose3d_forward().engines())
        if (const auto kernel = made(e, p)) test::expect_exactly(forward(*kernel, p, typed), y, "y " + where(e.name));
      for (const auto& e : conv_transpose3d_backward_data().engines())
        if (const auto kernel = made(e, p); kernel && (grad == Grad::overwrite || kernel->accumulates()))
          test::expect_exactly(backward_data(*kernel, p, typed, grad), dx, "dx " + where(e.name));
      for (const auto& e : conv_transpose3d_backward_weights().engines())
        if (const auto kernel = made(e, p)) {
          const auto [got_dw, got_db] = backward_weights(*kernel, p, typed, grad);
          test::expect_exactly(got_dw, dw, "dw " + where(e.name));
          if (p.bias) test::expect_exactly(got_db, db, "db " + where(e.name));
        }
    }
  }
}

Tensor doubles(const Shape& shape, std::initializer_list<double> values) {
  Tensor t = Tensor::empty(shape, DType::f64);
  std::copy(values.begin(), values.end(), t.data<double>());
  return t;
}

}  // namespace

// Two voxels in a row, each blown up to 1x1x2: y = 10 + {1, 2} (1, 3), then {1, 2} (2, 5) for the second.
TEST(conv_transpose3d, by_hand) {
  const ConvTranspose3dProblem p{.in = {1, 1, 2}, .stride = {1, 1, 2}, .dtype = DType::f64};
  const Data d{doubles(p.x_shape(), {1, 2}), doubles(p.w_shape(), {1, 3}), doubles({1}, {10}),
               doubles(p.y_shape(), {1, 2, 3, 4})};
  test::expect_exactly(forward(*reference_of(conv_transpose3d_forward(), p), p, d),
                       doubles(p.y_shape(), {11, 13, 12, 16}), "y");
  test::expect_exactly(backward_data(*reference_of(conv_transpose3d_backward_data(), p), p, d, Grad::overwrite),
                       doubles(p.x_shape(), {1 * 1 + 2 * 3, 3 * 1 + 4 * 3}), "dx");
  const auto [dw, db] = backward_weights(*reference_of(conv_transpose3d_backward_weights(), p), p, d, Grad::accumulate);
  test::expect_exactly(dw, doubles(p.w_shape(), {5 + 1 * 1 + 2 * 3, 5 + 1 * 2 + 2 * 4}), "dw");
  test::expect_exactly(db, doubles({1}, {5 + 10}), "db");
}

TEST(conv_transpose3d, engines_agree_on_the_shapes_of_networks) {
  uint64_t seed = 100;
  for (const ConvTranspose3dProblem& p :
       {ConvTranspose3dProblem{.n = 2, .c = 16, .k = 8, .in = {3, 4, 5}},
        ConvTranspose3dProblem{.n = 3, .c = 32, .k = 16, .in = {2, 3, 3}},
        ConvTranspose3dProblem{.n = 1, .c = 64, .k = 32, .in = {3, 3, 2}, .stride = {1, 2, 2}},
        ConvTranspose3dProblem{.n = 1, .c = 5, .k = 3, .in = {1, 1, 1}, .bias = false},
        ConvTranspose3dProblem{.n = 1, .c = 8, .k = 4, .in = {1, 1, 33}, .stride = {2, 1, 2}},
        ConvTranspose3dProblem{.n = 2, .c = 16, .k = 8, .in = {3, 4, 5}, .stride = {1, 1, 1}},
        ConvTranspose3dProblem{.n = 2, .c = 16, .k = 3, .in = {3, 4, 5}, .stride = {1, 1, 1}},
        ConvTranspose3dProblem{.n = 1, .c = 5, .k = 8, .in = {6, 4, 5}, .stride = {1, 1, 1}}}) {
    expect_engines_agree(p, seed++);
    if (HasFatalFailure()) return;
  }
}

TEST(conv_transpose3d, engines_agree_or_decline_on_random_problems) {
  Random random(2026, 12);
  const auto one_of = [&](std::initializer_list<int64_t> list) {
    return list.begin()[random.below(static_cast<int64_t>(list.size()))];
  };
  for (uint64_t seed = 0; seed < 30; ++seed) {
    ConvTranspose3dProblem p{.n = one_of({1, 2, 3}), .c = one_of({1, 3, 8, 16, 20}), .k = one_of({1, 3, 5, 8, 12, 16})};
    for (int a = 0; a < 3; ++a) p.in[a] = 1 + random.below(5), p.stride[a] = one_of({1, 2, 2});
    p.bias = random.below(2) == 1;
    expect_engines_agree(p, seed);
    if (HasFatalFailure()) return;
  }
}

// Stride 1 is a 1x1x1 convolution: oneDNN 2.6 is wrong in one pass of it, in bf16, where the inputs are odd.
TEST(conv_transpose3d, onednn_takes_stride_1) {
  ConvTranspose3dProblem p{.n = 1, .c = 5, .k = 8, .in = {6, 4, 5}, .stride = {1, 1, 1}};
  const Target onednn{.device = {}, .dtype = DType::f32, .engine = "onednn"};
  EXPECT_NO_THROW(conv_transpose3d_forward().prepare(p, onednn));
  EXPECT_NO_THROW(conv_transpose3d_backward_data().prepare(p, onednn));
  EXPECT_NO_THROW(conv_transpose3d_backward_weights().prepare(p, onednn));
}

}  // namespace metvox
