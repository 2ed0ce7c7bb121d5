// SPDX-License-Identifier: Apache-2.0
#include "kernels/upsample.h"

#include "kernels/check_view.h"
#include "kernels/upsample_engines.h"

namespace metvox {

std::string UpsampleProblem::describe() const {
  return sentence("upsample n", n, " c", c, ' ', in[0], 'x', in[1], 'x', in[2], ' ', name_of(dtype));
}

void UpsampleProblem::validate() const {
  check(n > 0 && c > 0 && in[0] > 0 && in[1] > 0 && in[2] > 0, describe(), ": an extent is below 1");
}

void UpsampleProblem::check_views(View x, View y) const {
  check_view("upsample", "x", x, x_shape(), dtype);
  check_view("upsample", "y", y, y_shape(), dtype);
}

const UpsampleTable& upsample() {
  static const UpsampleTable table("upsample",
                                   {METVOX_DEVICE_ENGINES(upsample_native), native::upsample(), reference::upsample()});
  return table;
}

}  // namespace metvox
