// SPDX-License-Identifier: Apache-2.0
// One tiny kernel for each wrapper of kernels/cuda/{kernel,ptx,hopper}.h: 32-bit words in, 32-bit words out, the same
// on the simulated GPU and on a real one, bit for bit (products are of small whole numbers).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/device.h"

namespace metvox {

struct Wrapper {
  std::string name;
  size_t words_in, words_out;
  void (*run)(Stream& stream, uint32_t* in, uint32_t* out);
  int arch = 750;     // from which on
  bool only = false;  // that one alone
};

namespace ksim {
std::vector<Wrapper> wrappers();
std::vector<Wrapper> hopper_wrappers();
}  // namespace ksim
namespace kgpu {
std::vector<Wrapper> wrappers();
std::vector<Wrapper> hopper_wrappers();
}  // namespace kgpu

}  // namespace metvox
