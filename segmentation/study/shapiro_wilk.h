// SPDX-License-Identifier: Apache-2.0
// The Shapiro-Wilk test of normality: Royston, Remark AS R94, Applied Statistics 44 (1995), in double precision.
#pragma once
#include <span>

#include "segmentation/study/rank_tests.h"

namespace metvox {

// W and p of finite values. NaN both below three values and where all are equal. Royston's p holds for up to 5000.
TestResult shapiro_wilk(std::span<const double> values);

}  // namespace metvox
