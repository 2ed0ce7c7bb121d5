// SPDX-License-Identifier: Apache-2.0
// METVOX_HD: a function that both the CPU and a CUDA kernel may call. Nothing to a compiler that is not nvcc.
#pragma once

#if defined(__CUDACC__)
#define METVOX_HD __host__ __device__
#else
#define METVOX_HD
#endif
