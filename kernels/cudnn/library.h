// SPDX-License-Identifier: Apache-2.0
// cuDNN 9, opened on first use (kernels/shared_library.h). Everything in kernels/cudnn is compiled only where its
// headers are (METVOX_CUDNN).
#pragma once
#if METVOX_CUDNN
#include <cudnn.h>

#include <string>

#include "tensor/device.h"

namespace metvox::cudnn {

struct Library {
  decltype(&cudnnGetVersion) get_version;
  decltype(&cudnnGetErrorString) error_string;
  decltype(&cudnnGetLastErrorString) last_error_string;
  decltype(&cudnnCreate) create;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendSetAttribute) set_attribute;
  decltype(&cudnnBackendGetAttribute) get_attribute;
  decltype(&cudnnBackendExecute) execute;
  std::string why;  // it cannot be used; empty: it can
};
const Library& library();

// Throws Error with what cuDNN says.
void check_status(cudnnStatus_t status, const char* doing);

// Of the calling thread, for that device. Throws Error where cuDNN makes none.
cudnnHandle_t handle(Device device);

}  // namespace metvox::cudnn
#endif
