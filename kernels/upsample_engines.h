// SPDX-License-Identifier: Apache-2.0
// The engines of upsample, one file each, and along one axis what reads what; upsample.cpp puts the engines in order.
#pragma once
#include "kernels/on_device.h"
#include "kernels/upsample.h"

namespace metvox {

// Up to 4 voxels of the other side, neighbours, and their weights.
struct UpsampleTaps {
  int64_t first = 0;
  int count = 0;
  double weight[4] = {};
};

// The inputs, of n, that output o is made of.
inline UpsampleTaps upsample_inputs(int64_t o, int64_t n) {
  const int64_t first = o == 0 ? 0 : (o - 1) / 2;
  if (o == 0 || first == n - 1) return {first, 1, {1}};
  const double next = o % 2 == 0 ? 0.75 : 0.25;
  return {first, 2, {1 - next, next}};
}

// The outputs, of 2 n, that input i goes into.
inline UpsampleTaps upsample_outputs(int64_t i, int64_t n) {
  UpsampleTaps taps;
  taps.first = i == 0 ? 0 : 2 * i - 1;
  for (int64_t o = taps.first; o < 2 * n && o <= 2 * i + 2; ++o) {
    const UpsampleTaps inputs = upsample_inputs(o, n);
    taps.weight[taps.count++] = inputs.weight[i - inputs.first];
  }
  return taps;
}

METVOX_DEVICE_DECLARE(Engine<UpsampleProblem, Upsample> upsample_native();)

namespace native {
Engine<UpsampleProblem, Upsample> upsample();
}
namespace reference {
Engine<UpsampleProblem, Upsample> upsample();
}

}  // namespace metvox
