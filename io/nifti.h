// SPDX-License-Identifier: Apache-2.0
// NIfTI-1 and NIfTI-2: .nii, .nii.gz, .hdr/.img (either also .gz), both byte orders, all real scalar types.
// Affine: sform if its code is above 0, else qform, else spacing alone. Source: nifti1.h, nifti2.h (NIMH).
#pragma once
#include "io/files.h"
#include "io/volume.h"

namespace metvox {

enum class NonFinite { zero, keep };

// Voxels as f32, or f64 where asked, after scl_slope/inter (slope 0 or not finite means none; computed in double).
// Non-finite voxels become a warning and, unless kept, 0. Lengths in metres or micrometres are converted to
// millimetres, with a warning; so are an orientation that no code vouches for, and a qform and sform that place a
// corner further apart than a tenth of the shortest voxel edge.
// Refuses, with a sentence (Fault::input): 2-D, several volumes, vectors, RGB, complex, Analyze 7.5, dims that the file
// cannot back, geometry that is not finite, truncated or corrupt data. A trailing axis of length 1 is dropped.
// `place`: what becomes the volume's voxels where it is of their shape and type, so that they need not be copied there.
Volume read_nifti(const Path& path, NonFinite non_finite = NonFinite::zero, DType dtype = DType::f32,
                  const Tensor& place = {});
// The header alone, with the same refusals that need no voxels.
Volume read_nifti_header(const Path& path);
// Labels: read as above, then each voxel rounded; refuses values that are not finite, further than 1e-3 from an integer
// or outside 0..255, and lists the first few. Tensor is u8.
Volume read_nifti_labels(const Path& path);

// Writes voxels (u8, i16, i32 or f32) on the grid; qform, sform, codes, spacing and units repeat those of `geometry`
// bit for bit; version 1 unless the geometry came from version 2. Compressed when the name ends in .gz.
constexpr int kIntentLabel = 1002;
struct NiftiOptions {
  int intent_code = 0;
  std::string description = {};  // up to 79 characters
  std::string comment = {};      // any length: an extension of kind 6, which readers pass over and tools can show
};
void write_nifti(const Path& path, const Tensor& voxels, const Geometry& geometry, const NiftiOptions& options = {});

}  // namespace metvox
