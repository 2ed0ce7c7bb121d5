// SPDX-License-Identifier: Apache-2.0
// The seam between the stages of a cascade: labels of one become inputs of the next (nnU-Net 2.8.1,
// inference/export_prediction.py resample_and_save, utilities/label_handling convert_labelmap_to_one_hot).
#pragma once
#include "segmentation/data/preprocess.h"

namespace metvox {

// data f32 (C, z, y, x) with a mask behind it for each label 1, 2, ... `count` of `seg` i8 (z, y, x).
Tensor with_previous_labels(const Tensor& data, const Tensor& seg, int64_t count);

// Labels u8 that a LabelRestorer brought onto the next stage's grid, as i8.
Tensor labels_for_next_stage(const Tensor& labels);

}  // namespace metvox
