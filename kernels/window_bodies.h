// SPDX-License-Identifier: Apache-2.0
// Bodies of kernels/window.h, for the CPU and for kernels: body.row(i) is what one row of a window has in common, and
// row(w) works on one voxel of it, first <= w < last.
#pragma once
#include "kernels/window.h"
#include "tensor/host_device.h"

namespace metvox {

// Position in a mirrored window of what lies at i in the volume's order.
METVOX_HD inline int64_t mirrored(int64_t i, int64_t extent, bool flip) { return flip ? extent - 1 - i : i; }
METVOX_HD inline bool within(int64_t i, int64_t extent) { return i >= 0 && i < extent; }

// A row for each (d, h).
template <class T>
struct CutWindowBody {
  const float* volume;
  T* x;
  int64_t channels;
  WindowPlace at;

  struct Row {
    const float* from;  // null outside the volume
    T* to;
    int64_t first, last, channels, start, size, channel_step;
    bool flip;
    METVOX_HD void operator()(int64_t w) const {
      const int64_t p = start + mirrored(w, last, flip);
      const bool inside = from && within(p, size);
      for (int64_t c = 0; c < channels; ++c)
        to[w * channels + c] = static_cast<T>(inside ? from[c * channel_step + p] : 0.f);
    }
  };
  int64_t rows() const { return at.patch[0] * at.patch[1]; }
  METVOX_HD Row row(int64_t i) const {
    const int64_t z = at.start[0] + mirrored(i / at.patch[1], at.patch[0], at.flips & 1),
                  y = at.start[1] + mirrored(i % at.patch[1], at.patch[1], at.flips & 2);
    const bool inside = within(z, at.size[0]) && within(y, at.size[1]);
    const float* from = inside ? volume + (z * at.size[1] + y) * at.size[2] : nullptr;
    return {from,
            x + i * at.patch[2] * channels,
            0,
            at.patch[2],
            channels,
            at.start[2],
            at.size[2],
            at.size[0] * at.size[1] * at.size[2],
            (at.flips & 4) != 0};
  }
};

// A row for each (d, h, channel). V: float or f16, to which each sum is rounded.
template <class T, class V>
struct BlendWindowBody {
  const T* y;
  V* sums;
  int64_t channels, planes;
  const float* weights;
  float share;
  WindowPlace at;

  struct Row {
    const T* from;
    V* to;
    int64_t first, last, channels, patch;
    const float* weights;
    float share;
    bool flip;
    METVOX_HD void operator()(int64_t w) const {
      to[w] = static_cast<V>(static_cast<float>(to[w]) +
                             share * weights[w] * static_cast<float>(from[mirrored(w, patch, flip) * channels]));
    }
  };
  int64_t rows() const { return at.patch[0] * at.patch[1] * channels; }
  METVOX_HD Row row(int64_t i) const {
    const int64_t D = at.patch[0], H = at.patch[1], W = at.patch[2], r = i % channels, h = i / channels % H,
                  d = i / channels / H, z = at.start[0] + d, v = at.start[1] + h;
    const bool inside = within(z, at.size[0]) && within(v, at.size[1]);
    const int64_t first = at.start[2] < 0 ? -at.start[2] : 0, room = at.size[2] - at.start[2];
    const T* from = y + (mirrored(d, D, at.flips & 1) * H + mirrored(h, H, at.flips & 2)) * W * channels + r;
    V* to = sums + ((r * planes + z % planes) * at.size[1] + v) * at.size[2] + at.start[2];
    return {from,
            to,
            first,
            inside ? (room < W ? room : W) : first,
            channels,
            W,
            weights + (d * H + h) * W,
            share,
            (at.flips & 4) != 0};
  }
};

}  // namespace metvox
