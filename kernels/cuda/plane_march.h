// SPDX-License-Identifier: Apache-2.0
// 3x3x3 convolutions of stride 1 with few channels on Hopper, forward and backward data: planes marched along depth.
// plane_march_sm90a.cu has the kernel; here is how a pass describes itself to it.
#pragma once
#include "kernels/cuda/kernel.h"
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

struct PlanePass {
  DType dtype;  // bf16 or f16
  int64_t n;
  Int3 extent;                  // of the images read and written
  int64_t from_c[2], to_c[2];   // channels of the sources and outputs, multiples of 16; the second may have none
  int64_t w_column, w_channel;  // steps in w from output to output channel, source to source channel; of a tap 1
  bool flipped;                 // backward data: the taps in reverse

  int64_t channels() const { return from_c[0] + from_c[1]; }
  int64_t columns() const { return to_c[0] + to_c[1]; }
};

constexpr int64_t kMostPlaneChannels = 128, kMostPlaneColumns = 128;

struct PlaneSources {
  View x[2];
};
struct PlaneOutput {
  View y[2];
  Grad grad[2];
  View moments = {};  // of what is written (kernels/moments.h), where they are wanted: of the first output, overwritten
};

class PlaneMarch {
 public:
  explicit PlaneMarch(const PlanePass& pass) : p_(pass) {}
  size_t packed_bytes() const;
  // w and b (f32, b may be nullptr for zero) in the order in which the kernel reads them.
  void pack(Stream&, const float* w, const float* b, void* packed) const;
  void run(Stream&, const PlaneSources& from, const void* packed, const PlaneOutput& to) const;
  int64_t moment_chunks() const;  // in which run() gives moments

 private:
  template <class T>
  void run_as(Stream&, const PlaneSources& from, const void* packed, const PlaneOutput& to) const;
  size_t weight_bytes() const { return static_cast<size_t>(p_.columns() * p_.channels() * 27) * 2; }
  const float* bias_in(const void* packed) const;

  PlanePass p_;
};

}  // namespace metvox::METVOX_KERNEL_NS
