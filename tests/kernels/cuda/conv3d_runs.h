// SPDX-License-Identifier: Apache-2.0
// The three passes of one conv3d problem, on an engine of the GPU or on the reference in double, for the
// tests of each engine.
#pragma once
#include "kernels/conv3d.h"
#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox::test {

// f64, on the host. x2 and dx2 are empty without a second input, gradients that are ignored as well.
struct Conv3dData {
  Tensor x, x2, w, b, dy;
};
struct Conv3dResults {
  Tensor y, dx, dx2, dw, db;
};

inline Conv3dData whole(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return whole_numbers(shape, random); };
  Conv3dData d{numbers(p.x_shape()), {}, numbers(p.w_shape()), whole_numbers({p.k}, random, 3), numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

inline Conv3dData normal(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return normal_numbers(shape, random, DType::f32); };
  Conv3dData d{numbers(p.x_shape()), {}, numbers(p.w_shape()), numbers({p.k}), numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

// grad is of the first input and of the weights, grad2 of the second input.
struct Conv3dGrads {
  Grad grad = Grad::overwrite, grad2 = grad;
};

inline Tensor bytes_on(Device device, size_t bytes, const char* name) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device, name);
}

// Every tensor in an allocation of its own, poison where it is written. What is added to starts as 5. On a CPU the
// engine is `reference`.
class Conv3dRunner {
 public:
  Conv3dRunner(const Conv3dProblem& p, const Conv3dData& d, const char* engine, Conv3dGrads how = {})
      : p_(p), target_{p.device, p.dtype, p.device.is_cpu() ? "reference" : engine}, how_(how), stream_(p.device) {
    x_ = placed(d.x, p.dtype, "x"), w_ = placed(d.w, p.master(), "w"), b_ = placed(d.b, p.master(), "b");
    dy_ = placed(d.dy, p.dtype, "dy");
    if (p.c2) x2_ = placed(d.x2, p.dtype, "x2");
  }

  Tensor forward() {
    const auto kernel = conv3d_forward().prepare(p_, target_).kernel;
    const Tensor packed = bytes_on(p_.device, kernel->packed_bytes(), "packed"),
                 scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 y = Tensor::empty(p_.y_shape(), p_.dtype, p_.device, "y");
    kernel->pack(stream_, w_.view(), b_.view(), packed.view().data);
    kernel->run(stream_, x_.view(), x2_.view(), packed.view().data, y.view(), scratch.view().data);
    return in_double(y);
  }

  void backward_data(Conv3dResults& r) {
    const auto kernel = conv3d_backward_data().prepare(p_, target_).kernel;
    const Tensor packed = bytes_on(p_.device, kernel->packed_bytes(), "packed"),
                 scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 dx = gradient(how_.grad, p_.x_shape(), p_.dtype, "dx"),
                 dx2 = p_.c2 ? gradient(how_.grad2, p_.x2_shape(), p_.dtype, "dx2") : Tensor();
    kernel->pack(stream_, w_.view(), packed.view().data);
    kernel->run(stream_, dy_.view(), packed.view().data, dx.view(), how_.grad, dx2.view(),
                p_.c2 ? how_.grad2 : Grad::ignore, scratch.view().data);
    if (dx) r.dx = in_double(dx);
    if (dx2) r.dx2 = in_double(dx2);
  }

  void backward_weights(Conv3dResults& r) {
    const auto kernel = conv3d_backward_weights().prepare(p_, target_).kernel;
    const Tensor scratch = bytes_on(p_.device, kernel->scratch_bytes(), "scratch"),
                 dw = gradient(how_.grad, p_.w_shape(), p_.master(), "dw"),
                 db = gradient(how_.grad, {p_.k}, p_.master(), "db");
    kernel->run(stream_, x_.view(), x2_.view(), dy_.view(), dw.view(), db.view(), how_.grad, scratch.view().data);
    r.dw = in_double(dw);
    if (p_.bias) r.db = in_double(db);
  }

 private:
  Tensor placed(const Tensor& from, DType dtype, const char* name) const {
    return p_.device.is_cpu() ? from : on_gpu(from, dtype, name);
  }
  Tensor gradient(Grad how, const Shape& shape, DType dtype, const char* name) const {
    if (how == Grad::ignore) return {};
    return how == Grad::accumulate ? placed(filled(shape, DType::f64, 5), dtype, name)
                                   : Tensor::empty(shape, dtype, p_.device, name);
  }

  Conv3dProblem p_;
  Target target_;
  Conv3dGrads how_;
  Stream stream_;
  Tensor x_, x2_, w_, b_, dy_;
};

inline Conv3dResults results_of(const Conv3dProblem& p, const Conv3dData& d, const char* engine, Conv3dGrads how = {}) {
  Conv3dRunner runner(p, d, engine, how);
  Conv3dResults r;
  r.y = runner.forward();
  runner.backward_data(r);
  runner.backward_weights(r);
  return r;
}

inline Conv3dResults expected_for(Conv3dProblem p, const Conv3dData& d, Conv3dGrads how = {}) {
  p.dtype = DType::f64, p.device = {};
  return results_of(p, d, "reference", how);
}

// Bit for bit.
inline void expect_same(const Conv3dResults& got, const Conv3dResults& expected, const std::string& what) {
  expect_near(got.y, expected.y, 0, "y " + what);
  if (expected.dx) expect_near(got.dx, expected.dx, 0, "dx " + what);
  if (expected.dx2) expect_near(got.dx2, expected.dx2, 0, "dx2 " + what);
  expect_near(got.dw, expected.dw, 0, "dw " + what);
  if (expected.db) expect_near(got.db, expected.db, 0, "db " + what);
}

}  // namespace metvox::test
