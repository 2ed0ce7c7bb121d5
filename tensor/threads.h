// SPDX-License-Identifier: Apache-2.0
// CPU threads. parallel_for splits a range into one contiguous piece a thread, so that results that depend on the
// split depend only on the number of threads.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace metvox {

inline int threads() { return omp_get_max_threads(); }
// For work started by the calling thread from now on.
inline void set_threads(int n) { omp_set_num_threads(std::max(1, n)); }

// f(first, last) on pieces of [0, n). Pieces run at once; small ranges (below `grain` a thread) run on fewer threads.
// The first exception of any piece is thrown again here.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t pieces = std::min<int64_t>(threads(), std::max<int64_t>(1, n / std::max<int64_t>(1, grain)));
  if (pieces <= 1) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(pieces))
  for (int64_t p = 0; p < pieces; ++p) {
    try {
      f(n * p / pieces, n * (p + 1) / pieces);
    } catch (...) {
#pragma omp critical(metvox_parallel_for)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace metvox
