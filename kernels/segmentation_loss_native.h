// SPDX-License-Identifier: Apache-2.0
// Loops of segmentation_loss' native engine over neighbouring voxels of one sample; T is float or uint16_t (bf16).
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox::native {

struct LossHeads {
  int count;
  bool softmax;
  float positive_weight;
  uint64_t heads_of[256];  // bit r set: a voxel of this label belongs to head r
  float counts[256];       // 0 for the ignored label, else 1
};

}  // namespace metvox::native

namespace metvox {

METVOX_ISA_DECLARE(
    // Adds to sums: (heads, 6) of SegmentationLossProblem, voxel sum, number of summands.
    template <class T>
    void loss_sums(const T* logits, const uint8_t* labels, int64_t voxels, const native::LossHeads&, double* sums);
    // coefficients: for each head dL/dI, dL/dP.
    template <class T>
    void loss_gradient(const T* logits, const uint8_t* labels, int64_t voxels, const native::LossHeads&,
                       const float* coefficients, float voxel_weight, bool accumulate, T* dlogits);)

}  // namespace metvox
