// SPDX-License-Identifier: Apache-2.0
// One window of a volume: cut out of it for a network, and the network's answer added back. Volumes are f32 (C, z, y,
// x), windows (1, C, D, H, W), channels last, of any float type; both lie on the stream's device.
#pragma once
#include "tensor/tensor.h"

namespace metvox {

struct WindowPlace {
  Int3 size, patch;  // of the volume, of the window
  Int3 start;        // of the window's first voxel in the volume; what lies outside is zero, and not added
  int flips = 0;     // bit a: the window is mirrored along axis a
};
// Of a window's voxels, f32 (D, H, W), in the volume's order; a voxel's weight is share times its own.
struct WindowWeights {
  View voxels;
  float share = 1;
};

void cut_window(Stream&, View volume, const WindowPlace&, View x);
// sums += weight * y. sums f32, or f16 to which each is rounded, (C, planes, y, x) may keep fewer planes than the
// volume has: plane z lies at z % planes, and no two of the window's may meet.
void blend_window(Stream&, View y, const WindowPlace&, const WindowWeights&, View sums);

}  // namespace metvox
