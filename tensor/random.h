// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). Number i of stream s under a seed is a pure
// function of (seed, s, i), so any thread may make any of them, in any order, on any device.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace metvox {

inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// A cursor over one stream. Copy it to look ahead; seek() to be anywhere.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  void seek(uint64_t block) {
    block_ = block;
    used_ = 4;
  }
  uint32_t bits() {
    if (used_ == 4) refill();
    return buffer_[used_++];
  }
  // In [0, 1), 32 random bits.
  double uniform() { return bits() * 0x1p-32; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // In [0, n); n below 2^32. Bias below n / 2^32.
  int64_t below(int64_t n) { return static_cast<int64_t>((uint64_t{bits()} * static_cast<uint64_t>(n)) >> 32); }
  // Standard normal by Box and Muller; two words a number, so that the count of words used does not depend on the past.
  double normal() {
    const double u = (bits() + 0.5) * 0x1p-32, v = bits() * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  void refill() {
    buffer_ = philox({static_cast<uint32_t>(block_), static_cast<uint32_t>(block_ >> 32),
                      static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)},
                     {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
    ++block_;
    used_ = 0;
  }
  uint64_t seed_, stream_, block_ = 0;
  std::array<uint32_t, 4> buffer_{};
  int used_ = 4;
};

}  // namespace metvox
