// SPDX-License-Identifier: Apache-2.0
// The engines of conv_transpose3d, one file each; conv_transpose3d.cpp puts them in order.
#pragma once
#include "kernels/conv_transpose3d.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(
    Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward_native();
    Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data_native();
    Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights_native();)

namespace cudnn {  // any: the rival "cudnn-any"
Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward(bool any);
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data(bool any);
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights(bool any);
}  // namespace cudnn

namespace onednn {
Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward();
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data();
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights();
}  // namespace onednn

namespace reference {
Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward();
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data();
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights();
}  // namespace reference

}  // namespace metvox
