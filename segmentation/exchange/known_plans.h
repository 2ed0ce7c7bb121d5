// SPDX-License-Identifier: Apache-2.0
// Whether plans made elsewhere say something that this program would do differently. plans.h reads what it needs and
// keeps the rest; weights from elsewhere are only worth what they are run with, so here everything that changes a
// prediction must be known.
#pragma once
#include "segmentation/data/plans.h"

namespace metvox {

// nnU-Net's plans.json of 2.0 to 2.3 (UNet_class_name) and later ones (architecture). Throws Error (Fault::input) that
// names the entry and its value: another version, preprocessor, resampling, norm, nonlinearity, dropout, label manager.
void require_known_plans(const Json& plans, const std::string& configuration, const Path& where);

}  // namespace metvox
