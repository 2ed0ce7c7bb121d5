// SPDX-License-Identifier: Apache-2.0
// The OpCase of a loss: three levels of deep supervision, four labels in three regions (or four exclusive labels).
#pragma once
#include "autograd/op_case.h"
#include "layers/loss.h"

namespace metvox {

// labels (N, D, H, W). The loss is looked up when the case is built.
OpCase loss_case(const std::string& loss, const std::string& name, Use use, const Shape& labels);

}  // namespace metvox
