// SPDX-License-Identifier: Apache-2.0
// The fields of a NIfTI-1 or NIfTI-2 header, from and to bytes. Only nifti.cpp includes this.
// Source of the offsets: nifti1.h and nifti2.h (NIMH).
#pragma once
#include <algorithm>
#include <bit>
#include <string>

#include "io/files.h"
#include "io/volume.h"

namespace metvox {

struct NiftiHeader {
  int version = 1;
  bool swapped = false;  // the file's byte order is not this machine's
  bool single = true;    // header and voxels in one file (magic n+1, n+2)
  std::array<int64_t, 8> dim{};
  std::array<double, 8> pixdim{};
  int datatype = 0, bitpix = 0, intent_code = 0;
  double vox_offset = 0, scl_slope = 0, scl_inter = 0;
  int xyzt_units = 0, qform_code = 0, sform_code = 0;
  std::array<double, 6> quatern{};
  std::array<double, 12> srow{};
  std::string description;
};

template <class T>
T byte_swapped(T value) {
  auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
  std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

constexpr size_t nifti_header_bytes(int version) { return version == 1 ? 348 : 540; }

// Reads the header from the front of `file`; refuses what is not NIfTI, Analyze 7.5 by name.
NiftiHeader read_nifti_fields(InputFile& file);
// 348 or 540 bytes, and the four that say that no extension follows; this machine's byte order.
Bytes nifti_bytes(const NiftiHeader& header);

// Millimetres of the unit of space in xyzt_units; unknown means mm.
double nifti_unit_mm(int xyzt_units);

// Shape, spacing and affine; refuses dims that are no 3-D volume and geometry that is not finite or singular.
Geometry nifti_geometry(const NiftiHeader& header, const Path& path, std::vector<std::string>& warnings);

}  // namespace metvox
