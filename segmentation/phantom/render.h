// SPDX-License-Identifier: Apache-2.0
// From tissues and lesions to the four sequences that a scanner would have made of them.
#pragma once
#include <string>

#include "segmentation/phantom/anatomy.h"
#include "segmentation/phantom/lesions.h"

namespace metvox::phantom {

// What differs between the sites where scans come from. Arrays in the order T1C, T1N, T2F, T2W.
struct ScannerDomain {
  std::array<double, 3> direction;    // of the voxel axes: LPS is {-1, -1, 1}
  std::array<double, 4> blur_voxels;  // partial volume, standard deviation
  std::array<double, 4> slice_mm;     // thickness of the slices acquired (along z)
  double bias;                        // standard deviation of the log of the coil's shading
  std::array<double, 4> noise;        // relative to white matter
  std::array<double, 4> gamma;
  std::array<double, 4> scale;  // of white matter, in the scanner's units
};
// Throws Error (Fault::usage) for a name that is neither public nor private.
const ScannerDomain& scanner_domain(const std::string& name);

// Sequence 0..3 as i16 (z, y, x); 0 outside the head.
Tensor render(const TissueMap& tissue, const LesionMap& lesions, const Grid& grid, const ScannerDomain& domain,
              const Streams& streams, int sequence);

}  // namespace metvox::phantom
