// SPDX-License-Identifier: Apache-2.0
// Loads by im2col for the conformance test: corners, steps and taps that differ along the axes, starts in the middle,
// channels and samples that end within a load.
#pragma once
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace metvox {

struct Im2colCase {
  std::string name;
  int64_t n, c;
  Int3 extent, lower, upper, step;
  uint32_t pixels;
  int first[5], tap[3];  // as tma_load_im2col takes them: {c, w, h, d, n}, {w, h, d}

  size_t words() const { return static_cast<size_t>(n * c * volume(extent)) / 2; }  // of 16-bit numbers
};

inline constexpr int kIm2colCases = 3;

inline Im2colCase im2col_case(int i) {
  switch (i) {
    case 0:
      return {"im2col_every", 2, 96, {3, 5, 6}, {0, -1, -2}, {-1, 0, 1}, {1, 1, 1}, 128, {64, 4, 2, 1, 0}, {2, 0, 1}};
    case 1:
      return {"im2col_steps", 2, 64, {5, 6, 7}, {-1, -1, -2}, {-1, 0, 2}, {2, 1, 3}, 64, {0, 1, 3, 3, 0}, {1, 2, 0}};
    default:
      return {"im2col_end", 1, 64, {2, 2, 3}, {-1, -2, 0}, {1, 0, -2}, {1, 2, 1}, 32, {0, 0, -2, 0, 0}, {2, 3, 1}};
  }
}

}  // namespace metvox
