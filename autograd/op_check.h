// SPDX-License-Identifier: Apache-2.0
// Checks and times an OpCase. The reference in double is the judge; finite differences judge it.
#pragma once
#include <optional>

#include "autograd/op_case.h"

namespace metvox {

struct CheckResult {
  Work forward, backward;               // that ran
  std::optional<std::string> declined;  // the engine's reason, if it did not
  double forward_error = 0,
         gradient_error = 0;  // largest |difference| over what the tolerance allows: at most 1 passes
  bool passed() const { return !declined && forward_error <= 1 && gradient_error <= 1; }
};
// Runs the case on the target and in double on the reference, every value in its own guarded and poisoned block, on the
// same data (rounded to the target's type). Allowed: 4 slack eps sqrt(terms) times the reference's root mean square,
// eps being that of the type, or of tf32 where that is allowed.
CheckResult check_case(const OpCase& c, const Target& target, uint64_t seed);
// Largest relative difference between the gradient in double and central differences along random directions.
double gradient_error(const OpCase& c, uint64_t seed);
// The op applied twice to the same inputs and added: every gradient must be twice the single one. Largest difference,
// over the root mean square.
double accumulation_error(const OpCase& c, const Target& target, uint64_t seed);

struct CaseTime {
  std::string engine, backward_engine;
  int runs = 0;
  double forward_ms_min = 0, forward_ms_median = 0, backward_ms_min = 0, backward_ms_median = 0;
  size_t arena_bytes = 0, packed_bytes = 0;
};
// Times the op's own steps, at least `runs` times.
CaseTime time_case(const OpCase& c, const Target& target, int runs);

}  // namespace metvox
