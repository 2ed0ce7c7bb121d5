// SPDX-License-Identifier: Apache-2.0
// cuBLAS 13, opened on first use (kernels/shared_library.h). Everything in kernels/cublas is compiled only where its
// headers are (METVOX_CUBLAS).
#pragma once
#if METVOX_CUBLAS
#include <cublas_v2.h>

#include <string>

#include "tensor/device.h"

namespace metvox::cublas {

struct Library {
  decltype(&cublasGetProperty) get_property;
  decltype(&cublasGetStatusString) status_string;
  decltype(&cublasCreate_v2) create;
  decltype(&cublasSetStream_v2) set_stream;
  decltype(&cublasSetWorkspace_v2) set_workspace;
  decltype(&cublasSetMathMode) set_math_mode;
  decltype(&cublasGemmEx_64) gemm;
  std::string why;  // it cannot be used; empty: it can
  std::string version() const;
};
const Library& library();

// Throws Error with what cuBLAS says.
void check_status(cublasStatus_t status, const char* doing);

// Of the calling thread, for that device; sums of half types are kept in float. Throws Error where cuBLAS makes none.
cublasHandle_t handle(Device device);

}  // namespace metvox::cublas
#endif
