// SPDX-License-Identifier: Apache-2.0
// Trials of convolutions for kernels/tuner.h: a pass is run on noise, some hundred of its results are compared with
// ConvolutionJudge, and it is timed on copies of the data that together are more than a GPU's cache holds.
#pragma once
#include "kernels/conv3d.h"
#include "kernels/conv_transpose3d.h"
#include "kernels/tuner.h"

namespace metvox {

// Each keeps the data for kernels of one problem. Throws Error (Fault::memory) where there is no room for it. A problem
// that asks for moments is timed with the norm behind it, whether a kernel gives them or the norm must find its own.
Trial<Conv3dForward> conv3d_forward_trial(const Conv3dProblem&);
Trial<Conv3dBackwardData> conv3d_backward_data_trial(const Conv3dProblem&);
Trial<Conv3dBackwardWeights> conv3d_backward_weights_trial(const Conv3dProblem&);
Trial<ConvTranspose3dForward> conv_transpose3d_forward_trial(const ConvTranspose3dProblem&);
Trial<ConvTranspose3dBackwardData> conv_transpose3d_backward_data_trial(const ConvTranspose3dProblem&);
Trial<ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights_trial(const ConvTranspose3dProblem&);

}  // namespace metvox
