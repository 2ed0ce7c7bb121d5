// SPDX-License-Identifier: Apache-2.0
#include "kernels/cublas/product.h"

#if METVOX_CUBLAS

namespace metvox::cublas {
namespace {

cudaDataType type_of(DType t) { return t == DType::f32 ? CUDA_R_32F : t == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F; }
cublasOperation_t turned(bool so) { return so ? CUBLAS_OP_T : CUBLAS_OP_N; }

}  // namespace

GemmArguments arguments(const Product& p, const Matrix& a, const Matrix& b) {
  const auto compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;  // which multiplies f32 as f32
  return {turned(p.b_turned), turned(p.a_turned), p.n, p.m, p.inner, b, a, p.adds ? 1.0f : 0.0f, compute};
}

void multiply(Stream& stream, const Product& p, const Matrix& a, const Matrix& b, const Matrix& c, void* workspace) {
  const cublasHandle_t mine = handle(stream.device());
  const GemmArguments g = arguments(p, a, b);
  const float alpha = 1;
  check_status(library().set_stream(mine, static_cast<cudaStream_t>(stream.handle())), "cublasSetStream");
  check_status(library().set_workspace(mine, workspace, kWorkspace), "cublasSetWorkspace");
  check_status(
      library().gemm(mine, g.first_op, g.second_op, g.m, g.n, g.k, &alpha, g.first.data, type_of(g.first.dtype),
                     g.first.stride, g.second.data, type_of(g.second.dtype), g.second.stride, &g.beta,
                     const_cast<void*>(c.data), type_of(c.dtype), c.stride, g.compute, CUBLAS_GEMM_DEFAULT),
      "cublasGemmEx");
}

}  // namespace metvox::cublas
#endif
