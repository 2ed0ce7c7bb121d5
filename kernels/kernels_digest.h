// SPDX-License-Identifier: Apache-2.0
// Which kernels this program was built with: a digest of their sources and of what compiled them for GPUs, made at each
// build (cmake/kernels_digest.cmake).
#pragma once

namespace metvox {

extern const char* const kKernelsDigest;

}  // namespace metvox
