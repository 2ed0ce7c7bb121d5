// SPDX-License-Identifier: Apache-2.0
// The seam between the stages of a cascade: labels of one become inputs of the next (nnU-Net 2.8.1,
// inference/export_prediction.py resample_and_save, utilities/label_handling convert_labelmap_to_one_hot).
#pragma once
#include "segmentation/data/preprocess.h"

namespace metvox {

// data f32 (C, z, y, x) with a mask behind it for each label 1, 2, ... `count` of `seg` i8 (z, y, x).
Tensor with_previous_labels(const Tensor& data, const Tensor& seg, int64_t count);

// Logits of a case on this configuration's grid as labels i8 on a grid of `shape`, the next stage's.
Tensor labels_for_next_stage(const Tensor& logits, const Int3& shape, const CaseProperties& properties,
                             const Configuration& configuration, const Labels& labels);

}  // namespace metvox
