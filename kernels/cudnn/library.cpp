// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/library.h"

#if METVOX_CUDNN
#include <cuda_runtime_api.h>

#include "kernels/shared_library.h"
#include "tensor/error.h"

namespace metvox::cudnn {
namespace {

// 9.8 to 9.10 get 3D convolutions in bf16 wrong; others up to 9.14 are avoided by PyTorch.
constexpr size_t kOldest = 91500;

Library open() {
  SharedLibrary file("libcudnn.so." + std::to_string(CUDNN_MAJOR));
  Library l;
  file.find(l.get_version, "cudnnGetVersion");
  file.find(l.error_string, "cudnnGetErrorString");
  file.find(l.last_error_string, "cudnnGetLastErrorString");
  file.find(l.create, "cudnnCreate");
  file.find(l.set_stream, "cudnnSetStream");
  file.find(l.create_descriptor, "cudnnBackendCreateDescriptor");
  file.find(l.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  file.find(l.finalize, "cudnnBackendFinalize");
  file.find(l.set_attribute, "cudnnBackendSetAttribute");
  file.find(l.get_attribute, "cudnnBackendGetAttribute");
  file.find(l.execute, "cudnnBackendExecute");
  l.why = file.why();
  if (l.why.empty() && l.get_version() < kOldest)
    l.why = sentence("cuDNN ", l.get_version(), " is too old: its 3D convolutions need ", kOldest, " or newer");
  return l;
}

}  // namespace

const Library& library() {
  static const Library opened = open();
  return opened;
}

void check_status(cudnnStatus_t status, const char* doing) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char detail[256] = "";
  library().last_error_string(detail, sizeof detail);
  const std::string text(detail);
  fail(Fault::internal, "cuDNN: ", doing, ": ", library().error_string(status), " (", text.substr(0, text.find('\n')),
       ")");
}

cudnnHandle_t handle(Device device) {
  return device_handle<cudnnHandle_t>(device, library().why, [&] {
    cudnnHandle_t made = nullptr;
    cudaSetDevice(device.index);
    check_status(library().create(&made), "cudnnCreate");
    return made;
  });
}

}  // namespace metvox::cudnn
#endif
