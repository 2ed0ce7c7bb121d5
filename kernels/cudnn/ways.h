// SPDX-License-Identifier: Apache-2.0
// What cuDNN's engines of both convolutions share: which plans may be used, and one by its name.
#pragma once
#include "kernels/cudnn/graph.h"
#if METVOX_CUDNN

namespace metvox::cudnn {

// Why not for such problems here, or nothing; asks cuDNN for no plan yet.
std::optional<std::string> declines(Device, DType);

// Names of at most some tens of configurations, best guess first; none where cuDNN takes no such convolution.
std::vector<std::string> ways(const Convolution&);

// Of that name, and needing no more workspace than an engine may take; where there is none, or the name is "", the best
// guess that needs no more. Throws Error where no plan is to be had.
Plan plan(const Convolution&, const std::string& name);
// The same, but of no other name.
Plan plan_named(const Convolution&, const std::string& name);

}  // namespace metvox::cudnn
#endif
