// SPDX-License-Identifier: Apache-2.0
#include "kernels/engines_of.h"

#include <algorithm>

#include "kernels/conv3d.h"
#include "kernels/conv_transpose3d.h"
#include "kernels/norm_act.h"
#include "kernels/segmentation_loss.h"
#include "kernels/upsample.h"

namespace metvox {

std::vector<std::string> engines_of(Device::Kind kind) {
  std::vector<std::string> names;
  const auto add = [&](const auto&... tables) {
    const auto add_one = [&](const auto& table) {
      for (const auto& engine : table.engines())
        if (engine.device == kind && std::find(names.begin(), names.end(), engine.name) == names.end())
          names.emplace_back(engine.name);
    };
    (add_one(tables), ...);
  };
  add(conv3d_forward(), conv3d_backward_data(), conv3d_backward_weights(), conv_transpose3d_forward(),
      conv_transpose3d_backward_data(), conv_transpose3d_backward_weights(), norm_act(), segmentation_loss(),
      upsample());
  return names;
}

}  // namespace metvox
