// SPDX-License-Identifier: Apache-2.0
// tests/golden/statistics.json: what SciPy says.
#pragma once
#include <limits>
#include <vector>

#include "io/json.h"

namespace metvox {

inline const Json& statistics_golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/statistics.json");
  return json;
}

inline std::vector<double> doubles(const Json& list) {
  std::vector<double> out;
  for (const Json& v : list) out.push_back(v.is_string() ? std::numeric_limits<double>::infinity() : v.get<double>());
  return out;
}

}  // namespace metvox
