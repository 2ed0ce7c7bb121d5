// SPDX-License-Identifier: Apache-2.0
// The engines of norm_act, one file each; norm_act.cpp puts them in order.
#pragma once
#include "kernels/norm_act.h"

namespace metvox {

namespace ksim {
Engine<NormActProblem, NormAct> norm_act_native();
}
namespace kgpu {
Engine<NormActProblem, NormAct> norm_act_native();
}
namespace native {
Engine<NormActProblem, NormAct> norm_act();
}
namespace reference {
Engine<NormActProblem, NormAct> norm_act();
}

}  // namespace metvox
