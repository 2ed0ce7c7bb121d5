// SPDX-License-Identifier: Apache-2.0
// Words for reports: names of functions and source lines, found with addr2line.
#pragma once
#include <string>

#include "kernels/sim/simt.h"

namespace simt {

std::string describe(Site site);                    // "conv3d.cu:88"
std::string function_at(const void* function);      // "metvox::ksim::conv3d<float>"
std::string source_of(const void* return_address);  // "conv3d.cu:88 in conv3d<float>", the kernel's own line

}  // namespace simt
