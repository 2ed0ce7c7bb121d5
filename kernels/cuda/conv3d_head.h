// SPDX-License-Identifier: Apache-2.0
// The heads of networks: 1x1x1 convolutions to at most 8 channels, which memory alone bounds.
#pragma once
#include "kernels/conv3d.h"
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

bool is_head(const Conv3dProblem& p);
std::unique_ptr<Conv3dForward> conv3d_head(const Conv3dProblem& p);

}  // namespace metvox::METVOX_KERNEL_NS
