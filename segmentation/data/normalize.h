// SPDX-License-Identifier: Apache-2.0
// Intensity normalisation: nnU-Net 2.8.1, preprocessing/normalization/default_normalization_schemes.py.
#pragma once
#include "segmentation/data/plans.h"

namespace metvox {

// The schemes there are, by nnU-Net's names.
const std::vector<std::string>& normalization_schemes();

// One channel (z, y, x) f32, in place. `seg` i8 (z, y, x), or empty for no mask: voxels below 0 are neither counted nor
// changed by z-score. Sums in double, in an order that the number of threads does not change.
// Throws Error (Fault::input) where a scheme needs what the plans lack.
void normalize(Tensor& channel, const std::string& scheme, const Tensor& seg, const IntensityProperties& properties);

}  // namespace metvox
