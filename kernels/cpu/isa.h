// SPDX-License-Identifier: Apache-2.0
// Instruction sets. A file NAME.isa.cpp is compiled three times (x86-64-v2, -v3, -v4), its code in namespace
// metvox::METVOX_ISA; the caller picks at run time with METVOX_ISA_CALL. Such a file keeps to plain loops over pointers
// and to code of its own: an inline function of a shared header would be emitted by every copy, and the linker might
// keep the one that this machine cannot run. Its header declares the functions once with METVOX_ISA_DECLARE.
#pragma once

namespace metvox {

enum class Isa { v2, v3, v4 };

// The best this machine has, or less when METVOX_ISA=v2|v3|v4 says so. Chosen once.
Isa isa();
const char* name_of(Isa isa);
// avx512_bf16 or AMX: where bf16 convolution is worth having.
bool has_bf16_instructions();

}  // namespace metvox

#define METVOX_ISA_DECLARE(...) \
  namespace isa_v2 {            \
  __VA_ARGS__                   \
  }                             \
  namespace isa_v3 {            \
  __VA_ARGS__                   \
  }                             \
  namespace isa_v4 {            \
  __VA_ARGS__                   \
  }

// METVOX_ISA_CALL(function)(arguments...)
#define METVOX_ISA_CALL(function)                            \
  (::metvox::isa() == ::metvox::Isa::v4   ? isa_v4::function \
   : ::metvox::isa() == ::metvox::Isa::v3 ? isa_v3::function \
                                          : isa_v2::function)
