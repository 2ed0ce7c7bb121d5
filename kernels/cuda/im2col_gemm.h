// SPDX-License-Identifier: Apache-2.0
// The gathered product of gather_gemm.h on Hopper, for many channels: TMA gathers (im2col), wgmma multiplies.
// im2col_gemm_sm90a.cu has the kernel.
#pragma once
#include <optional>
#include <string>

#include "kernels/cuda/gather_gemm.h"

namespace metvox::METVOX_KERNEL_NS {

class Im2colGemm {
 public:
  static std::optional<std::string> declines(const GatherProblem& p);
  explicit Im2colGemm(GatherProblem p);
  size_t packed_bytes() const { return tiles_.packed_bytes(); }
  size_t scratch_bytes() const { return tiles_.scratch_bytes(); }
  int64_t moment_chunks() const { return 0; }
  // w and b (f32, b may be nullptr for zero) in the order in which the kernel reads them.
  void pack(Stream&, const float* w, const float* b, void* packed) const;
  void run(Stream&, const void* x, const void* x2, const void* packed, const GatherOutput& to, void* scratch) const;

 private:
  template <class T>
  void run_as(Stream&, const void* x, const void* x2, const void* packed, const GatherOutput& to, void* scratch) const;

  GatherProblem p_;
  int tile_m_;
  GatherTiles tiles_;
};

}  // namespace metvox::METVOX_KERNEL_NS
