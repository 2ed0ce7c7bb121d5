// SPDX-License-Identifier: Apache-2.0
// Diameters of a lesion as a radiologist measures them for RANO-BM (Lin et al., Lancet Oncology 2015; 16: e270-8): the
// longest one in an axial slice, the one perpendicular to it in the same slice, and in how many slices it is seen.
#pragma once
#include "io/volume.h"
#include "tensor/tensor.h"

namespace metvox {

struct Diameters {
  double longest_mm = 0;          // between the outer corners of voxels
  double longest_centres_mm = 0;  // between centres of voxels: about a voxel less
  double perpendicular_mm = 0;    // the longest straight line inside the lesion that crosses the longest at 90 degrees
  int64_t slices = 0;
  // 10 mm, 5 mm and two slices or more.
  bool measurable() const { return longest_mm >= 10 && perpendicular_mm >= 5 && slices >= 2; }
};

// Axis of a volume's (z, y, x) that is nearest to the patient's feet-head axis.
int axial_normal(const Geometry& grid);

// Mask u8 (z, y, x), 1 inside; slices lie across axis `normal`. All zero for an empty mask.
Diameters axial_diameters(const Tensor& mask, int normal, const Double3& spacing_mm);

// Lesions that can be measured: components of the tumour core (enhancing or necrotic, a mask) that hold an enhancing
// voxel, of sufficient size. The sum is over the longest diameters of the five largest, as target lesions are chosen.
struct TargetLesions {
  int64_t measurable = 0;
  double sum_mm = 0;
};
TargetLesions target_lesions(const Tensor& core, const Tensor& enhancing, const Geometry& grid);

}  // namespace metvox
