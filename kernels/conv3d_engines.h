// SPDX-License-Identifier: Apache-2.0
// The engines of conv3d, one file each; conv3d.cpp puts them in order.
#pragma once
#include "kernels/conv3d.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native();
                      Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native_hopper();
                      Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native_im2col();
                      Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native();
                      Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native_hopper();
                      Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native_im2col();
                      Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights_native();
                      Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights_native_hopper();)

namespace native {
Engine<Conv3dProblem, Conv3dForward> conv3d_forward();
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data();
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights();
}  // namespace native

namespace cudnn {  // any: the rival "cudnn-any"
Engine<Conv3dProblem, Conv3dForward> conv3d_forward(bool any);
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data(bool any);
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights(bool any);
}  // namespace cudnn

namespace cublas {
Engine<Conv3dProblem, Conv3dForward> conv3d_forward();
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data();
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights();
}  // namespace cublas

namespace onednn {
Engine<Conv3dProblem, Conv3dForward> conv3d_forward();
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data();
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights();
}  // namespace onednn

namespace reference {
Engine<Conv3dProblem, Conv3dForward> conv3d_forward();
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data();
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights();
}  // namespace reference

}  // namespace metvox
