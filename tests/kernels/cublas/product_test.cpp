// SPDX-License-Identifier: Apache-2.0
// The order of cuBLAS's arguments, by a product that follows its manual.
#include "kernels/cublas/product.h"

#include <gtest/gtest.h>

#if METVOX_CUBLAS
#include <vector>

namespace metvox::cublas {
namespace {

// C (m x n) = op(A) op(B) + beta C, columns first, as cublasGemmEx says.
void gemm(const GemmArguments& g, float* c, int64_t stride) {
  const auto element = [](const Matrix& matrix, cublasOperation_t op, int64_t row, int64_t column) {
    const float* data = static_cast<const float*>(matrix.data);
    return op == CUBLAS_OP_N ? data[row + column * matrix.stride] : data[column + row * matrix.stride];
  };
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j) {
      float sum = g.beta * c[i + j * stride];
      for (int64_t l = 0; l < g.k; ++l)
        sum += element(g.first, g.first_op, i, l) * element(g.second, g.second_op, l, j);
      c[i + j * stride] = sum;
    }
}

}  // namespace

TEST(product, of_rows_for_a_library_of_columns) {
  constexpr int64_t m = 3, n = 4, inner = 5, a_stride = 7, b_stride = 8, c_stride = 9;
  std::vector<float> a(64), b(64);
  for (int i = 0; i < 64; ++i) a[i] = static_cast<float>(i % 11 - 5), b[i] = static_cast<float>(i % 7 - 3);
  for (const bool a_turned : {false, true})
    for (const bool b_turned : {false, true})
      for (const bool adds : {false, true}) {
        std::vector<float> c(64, 2.0f);
        const Product p{m, n, inner, a_turned, b_turned, adds};
        gemm(arguments(p, {a.data(), DType::f32, a_stride}, {b.data(), DType::f32, b_stride}), c.data(), c_stride);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            float right = adds ? 2.0f : 0.0f;
            for (int64_t l = 0; l < inner; ++l)
              right += (a_turned ? a[l * a_stride + i] : a[i * a_stride + l]) *
                       (b_turned ? b[j * b_stride + l] : b[l * b_stride + j]);
            EXPECT_EQ(c[i * c_stride + j], right) << i << ' ' << j << ' ' << a_turned << b_turned << adds;
          }
        EXPECT_EQ(c[n], 2.0f);  // between the rows
      }
}

TEST(product, rounds_to_tf32_only_where_that_is_allowed) {
  const Matrix none{nullptr, DType::f32, 1};
  EXPECT_EQ(arguments({1, 1, 1}, none, none).compute, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(arguments({.m = 1, .n = 1, .inner = 1, .tf32 = true}, none, none).compute, CUBLAS_COMPUTE_32F_FAST_TF32);
}

TEST(cublas_library, says_that_there_is_no_device) {
  if (!library().why.empty() || device_count(Device::Kind::cuda) > 0) GTEST_SKIP() << library().why;
  EXPECT_EQ(library().version().substr(0, 3), std::to_string(CUBLAS_VER_MAJOR) + ".");
  try {
    handle({Device::Kind::cuda, 0});
    FAIL() << "cublasCreate made a handle without a device";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cublasCreate"), std::string::npos) << e.what();
  }
}

}  // namespace metvox::cublas
#endif
