// SPDX-License-Identifier: Apache-2.0
// Shape: at most five extents, no heap. Activations are written (N, C, D, H, W) and lie channels-last in memory,
// that is N, D, H, W, C with C fastest. Weights (K, C, kd, kh, kw), volumes (C, D, H, W) and vectors lie as written.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "tensor/error.h"

namespace metvox {

class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents) {
    check(extents.size() <= kMaxRank, "Shape: rank ", extents.size(), " is above ", kMaxRank);
    for (int64_t e : extents) {
      check(e >= 0, "Shape: extent ", e, " is negative");
      extent_[rank_++] = e;
    }
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extent_[i]; }
  int64_t& operator[](int i) { return extent_[i]; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extent_[i];
    return n;
  }
  bool operator==(const Shape&) const = default;

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    out << '(';
    for (int i = 0; i < s.rank_; ++i) out << (i ? ", " : "") << s.extent_[i];
    return out << ')';
  }

 private:
  std::array<int64_t, kMaxRank> extent_{};
  int rank_ = 0;
};

// Three extents, steps or positions along (D, H, W), that is (z, y, x).
using Int3 = std::array<int64_t, 3>;
using Double3 = std::array<double, 3>;

inline int64_t volume(const Int3& e) { return e[0] * e[1] * e[2]; }

}  // namespace metvox
