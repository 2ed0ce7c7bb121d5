// SPDX-License-Identifier: Apache-2.0
// The engines of norm_act, one file each; norm_act.cpp puts them in order.
#pragma once
#include "kernels/norm_act.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(Engine<NormActProblem, NormAct> norm_act_native();)

namespace native {
Engine<NormActProblem, NormAct> norm_act();
}
namespace reference {
Engine<NormActProblem, NormAct> norm_act();
}

}  // namespace metvox
