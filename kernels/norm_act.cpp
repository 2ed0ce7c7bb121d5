// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm_act.h"

#include "kernels/check_view.h"
#include "kernels/norm_act_engines.h"

namespace metvox {

std::string NormActProblem::describe() const {
  return sentence("norm_act n", n, " c", c, ' ', in[0], 'x', in[1], 'x', in[2],
                  groups ? sentence(" groups ", groups) : "", ' ', name_of(dtype),
                  moment_chunks ? sentence(" from ", moment_chunks, " moments") : "");
}

void NormActProblem::validate() const {
  check(n > 0 && c > 0 && in[0] > 0 && in[1] > 0 && in[2] > 0, describe(), ": an extent is below 1");
  check(groups >= 0 && (groups == 0 || c % groups == 0), describe(), ": channels do not divide into groups");
  check(moment_chunks >= 0, describe(), ": fewer chunks than none");
  check(eps > 0, describe(), ": eps ", eps, " is not above 0");
}

void NormActProblem::check_views(View x, View gamma, View beta, View y, View saved) const {
  check_view("norm_act", "x", x, x_shape(), dtype);
  check_view("norm_act", "gamma", gamma, {c}, master());
  check_view("norm_act", "beta", beta, {c}, master());
  check_view("norm_act", "y", y, x_shape(), dtype);
  check_view("norm_act", "saved", saved, saved_shape(), master());
}

void NormActProblem::check_moments(View moments) const {
  check_view("norm_act", "moments", moments, moments_shape(n, c, moment_chunks), DType::f32);
}

const NormActTable& norm_act() {
  static const NormActTable table("norm_act",
                                  {METVOX_DEVICE_ENGINES(norm_act_native), native::norm_act(), reference::norm_act()});
  return table;
}

}  // namespace metvox
