// SPDX-License-Identifier: Apache-2.0
#include "kernels/cublas/library.h"

#if METVOX_CUBLAS
#include <cuda_runtime_api.h>

#include "kernels/shared_library.h"
#include "tensor/error.h"

namespace metvox::cublas {
namespace {

Library open() {
  SharedLibrary file("libcublas.so." + std::to_string(CUBLAS_VER_MAJOR));
  Library l;
  file.find(l.get_property, "cublasGetProperty");
  file.find(l.status_string, "cublasGetStatusString");
  file.find(l.create, "cublasCreate_v2");
  file.find(l.set_stream, "cublasSetStream_v2");
  file.find(l.set_workspace, "cublasSetWorkspace_v2");
  file.find(l.set_math_mode, "cublasSetMathMode");
  file.find(l.gemm, "cublasGemmEx_64");
  l.why = file.why();
  return l;
}

}  // namespace

std::string Library::version() const {
  std::string text;
  for (const libraryPropertyType part : {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL}) {
    int value = 0;
    get_property(part, &value);
    text += (text.empty() ? "" : ".") + std::to_string(value);
  }
  return text;
}

const Library& library() {
  static const Library opened = open();
  return opened;
}

void check_status(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(Fault::internal, "cuBLAS: ", doing, ": ", library().status_string(status));
}

cublasHandle_t handle(Device device) {
  return device_handle<cublasHandle_t>(device, library().why, [&] {
    constexpr int kMode = CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    cublasHandle_t made = nullptr;
    cudaSetDevice(device.index);
    check_status(library().create(&made), "cublasCreate");
    check_status(library().set_math_mode(made, static_cast<cublasMath_t>(kMode)), "cublasSetMathMode");
    return made;
  });
}

}  // namespace metvox::cublas
#endif
