// SPDX-License-Identifier: Apache-2.0
// Products of matrices that lie row by row, for a library that counts columns first.
#pragma once
#include "kernels/cublas/library.h"
#if METVOX_CUBLAS
#include "kernels/engine.h"

namespace metvox::cublas {

// Rows lie `stride` elements apart.
struct Matrix {
  const void* data;
  DType dtype;
  int64_t stride;
};

// c (m, n) = [c +] a b, summed over `inner` in float. a is (m, inner), or (inner, m) where a_turned; b is (inner, n),
// or (n, inner) where b_turned.
struct Product {
  int64_t m, n, inner;
  bool a_turned = false, b_turned = false, adds = false;
  bool tf32 = false;  // may f32 factors be rounded (kernels/engine.h)?
};

constexpr size_t kWorkspace = size_t{32} << 20;  // what cuBLAS asks for on Hopper

// What cublasGemmEx gets. To it each of our matrices is turned, so c turned is (b turned) (a turned).
struct GemmArguments {
  cublasOperation_t first_op, second_op;
  int64_t m, n, k;
  Matrix first, second;
  float beta;
  cublasComputeType_t compute;
};
GemmArguments arguments(const Product&, const Matrix& a, const Matrix& b);

void multiply(Stream&, const Product&, const Matrix& a, const Matrix& b, const Matrix& c, void* workspace);

}  // namespace metvox::cublas
#endif
