// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/isa.h"

#include <cpuid.h>

#include <cstdlib>
#include <string>

#include "tensor/error.h"

namespace metvox {
namespace {

Isa choose() {
  const Isa best = __builtin_cpu_supports("x86-64-v4")   ? Isa::v4
                   : __builtin_cpu_supports("x86-64-v3") ? Isa::v3
                                                         : Isa::v2;
  const char* asked = std::getenv("METVOX_ISA");
  if (!asked) return best;
  for (Isa i : {Isa::v2, Isa::v3, Isa::v4})
    if (std::string(asked) == name_of(i)) return i < best ? i : best;
  fail(Fault::usage, "METVOX_ISA is \"", asked, "\"; it may be v2, v3 or v4");
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* name_of(Isa i) { return i == Isa::v4 ? "v4" : i == Isa::v3 ? "v3" : "v2"; }

bool has_bf16_instructions() {
  if (isa() != Isa::v4) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}

}  // namespace metvox
