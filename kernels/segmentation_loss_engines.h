// SPDX-License-Identifier: Apache-2.0
// The engines of segmentation_loss, one file each; segmentation_loss.cpp puts them in order.
#pragma once
#include "kernels/on_device.h"
#include "kernels/segmentation_loss.h"

namespace metvox {

METVOX_DEVICE_DECLARE(Engine<SegmentationLossProblem, SegmentationLossKernel> segmentation_loss_native();)

namespace native {
Engine<SegmentationLossProblem, SegmentationLossKernel> segmentation_loss();
}
namespace reference {
Engine<SegmentationLossProblem, SegmentationLossKernel> segmentation_loss();
}

}  // namespace metvox
