// SPDX-License-Identifier: Apache-2.0
#include "io/nifti_header.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace metvox {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors and NIfTI are written as they lie in memory");

// The two ways through a header: each field is named once, below, for both.
struct Loader {
  const std::byte* bytes;
  bool swapped;
  template <class Disk, class T>
  void field(size_t offset, T& value) const {
    Disk stored;
    std::memcpy(&stored, bytes + offset, sizeof stored);
    value = static_cast<T>(swapped ? byte_swapped(stored) : stored);
  }
  void text(size_t offset, size_t size, std::string& value) const {
    value.assign(reinterpret_cast<const char*>(bytes + offset), size);
    value.resize(std::min(value.find('\0'), size));
  }
};
struct Storer {
  std::byte* bytes;
  template <class Disk, class T>
  void field(size_t offset, const T& value) const {
    const Disk stored = static_cast<Disk>(value);
    std::memcpy(bytes + offset, &stored, sizeof stored);
  }
  void text(size_t offset, size_t size, const std::string& value) const {
    std::memcpy(bytes + offset, value.data(), std::min(size - 1, value.size()));
  }
};

template <class Disk, class Way, class Array>
void fields(const Way& way, size_t offset, Array& values) {
  for (size_t n = 0; n < values.size(); ++n) way.template field<Disk>(offset + n * sizeof(Disk), values[n]);
}

template <class Way, class Header>
void each_field_1(const Way& way, Header& h) {
  fields<int16_t>(way, 40, h.dim);
  way.template field<int16_t>(68, h.intent_code);
  way.template field<int16_t>(70, h.datatype);
  way.template field<int16_t>(72, h.bitpix);
  fields<float>(way, 76, h.pixdim);
  way.template field<float>(108, h.vox_offset);
  way.template field<float>(112, h.scl_slope);
  way.template field<float>(116, h.scl_inter);
  way.template field<uint8_t>(123, h.xyzt_units);
  way.text(148, 80, h.description);
  way.template field<int16_t>(252, h.qform_code);
  way.template field<int16_t>(254, h.sform_code);
  fields<float>(way, 256, h.quatern);
  fields<float>(way, 280, h.srow);
}

template <class Way, class Header>
void each_field_2(const Way& way, Header& h) {
  way.template field<int16_t>(12, h.datatype);
  way.template field<int16_t>(14, h.bitpix);
  fields<int64_t>(way, 16, h.dim);
  fields<double>(way, 104, h.pixdim);
  way.template field<int64_t>(168, h.vox_offset);
  way.template field<double>(176, h.scl_slope);
  way.template field<double>(184, h.scl_inter);
  way.text(240, 80, h.description);
  way.template field<int32_t>(344, h.qform_code);
  way.template field<int32_t>(348, h.sform_code);
  fields<double>(way, 352, h.quatern);
  fields<double>(way, 400, h.srow);
  way.template field<int32_t>(500, h.xyzt_units);
  way.template field<int32_t>(504, h.intent_code);
}

constexpr std::string_view kMagic2Tail{"\0\r\n\x1a\n", 5};

[[noreturn]] void refuse_magic(const Path& path) {
  fail(Fault::input, path.string(),
       ": the header has the size of NIfTI-1 but not its magic \"n+1\" or \"ni1\": it is damaged, or "
       "looks like Analyze 7.5, which does not record left and right; convert it to NIfTI with the program that wrote "
       "it");
}

std::array<int64_t, 3> volume_shape(const NiftiHeader& h, const Path& path) {
  const int64_t rank = h.dim[0];
  if (rank < 1 || rank > 7)
    fail(Fault::input, path.string(), ": dim[0] is ", rank,
         ", expected the number of axes, 3; the header is damaged, export it again");
  for (int64_t n = 1; n <= rank; ++n)
    if (h.dim[n] < 1)
      fail(Fault::input, path.string(), ": dim[", n, "] is ", h.dim[n],
           ", expected at least 1; the header is damaged, export it again");
  if (rank < 3)
    fail(Fault::input, path.string(), ": is a ", rank, "-D image, expected one 3-D volume; stack its slices first");
  if (rank >= 4 && h.dim[4] > 1)
    fail(Fault::input, path.string(), ": holds several volumes (dim[4] is ", h.dim[4],
         "), expected one; split it first");
  if (rank >= 5 && h.dim[5] > 1)
    fail(Fault::input, path.string(), ": holds vectors (dim[5] is ", h.dim[5],
         "), expected one number a voxel; split it first");
  for (int64_t n = 6; n <= rank; ++n)
    if (h.dim[n] > 1)
      fail(Fault::input, path.string(), ": dim[", n, "] is ", h.dim[n], ", expected a 3-D volume; split it first");
  return {h.dim[1], h.dim[2], h.dim[3]};
}

// a^2 of the quaternion (a, b, c, d) of length 1; below 0 where the three are longer.
double square_of_a(const NiftiHeader& h) {
  const double b = h.quatern[0], c = h.quatern[1], d = h.quatern[2];
  return 1 - (b * b + c * c + d * d);
}

bool is_rotation(const NiftiHeader& h) { return square_of_a(h) >= -1e-3; }

Affine affine_of_qform(const NiftiHeader& h) {
  double b = h.quatern[0], c = h.quatern[1], d = h.quatern[2], a = square_of_a(h);
  if (a < 1e-7) {  // half a turn, up to rounding
    const double length = std::sqrt(b * b + c * c + d * d);
    a = 0, b /= length, c /= length, d /= length;
  } else {
    a = std::sqrt(a);
  }
  const double x = std::abs(h.pixdim[1]), y = std::abs(h.pixdim[2]);
  const double z = h.pixdim[0] < 0 ? -std::abs(h.pixdim[3]) : std::abs(h.pixdim[3]);
  Affine out;
  out.m[0] = {(a * a + b * b - c * c - d * d) * x, 2 * (b * c - a * d) * y, 2 * (b * d + a * c) * z, h.quatern[3]};
  out.m[1] = {2 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2 * (c * d - a * b) * z, h.quatern[4]};
  out.m[2] = {2 * (b * d - a * c) * x, 2 * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z, h.quatern[5]};
  return out;
}

template <class Array>
bool finite(const Array& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

Affine affine_of_sform(const NiftiHeader& h) {
  Affine out;
  for (size_t n = 0; n < 12; ++n) out.m[n / 4][n % 4] = h.srow[n];
  return out;
}

Affine affine_of(const NiftiHeader& h, const Path& path) {
  if (h.qform_code > 0 && !finite(h.quatern))
    fail(Fault::input, path.string(),
         ": the qform has a number that is not finite; the header is damaged, export it again");
  if (h.sform_code > 0 && !finite(h.srow))
    fail(Fault::input, path.string(),
         ": the sform has a number that is not finite; the header is damaged, export it again");
  if (h.sform_code > 0) return affine_of_sform(h);
  if (h.qform_code > 0 && !is_rotation(h))
    fail(Fault::input, path.string(), ": the qform's quaternion (", h.quatern[0], ", ", h.quatern[1], ", ",
         h.quatern[2], ") is longer than 1; the header is damaged, export it again");
  if (h.qform_code > 0) return affine_of_qform(h);
  Affine out;
  for (size_t a = 0; a < 3; ++a) out.m[a][a] = std::abs(h.pixdim[a + 1]);
  return out;
}

Affine scaled(Affine affine, double unit) {
  for (size_t r = 0; r < 3; ++r)
    for (double& e : affine.m[r]) e *= unit;
  return affine;
}

// Where the header says two things about the orientation, or nothing.
void warn_of_orientation(const NiftiHeader& h, const Geometry& g, double unit, std::vector<std::string>& warnings) {
  if (h.qform_code <= 0 && h.sform_code <= 0)
    warnings.push_back(
        "qform_code and sform_code are 0: the header does not say which side is left; the axes are taken as they lie "
        "in the file, R A S");
  if (h.qform_code <= 0 || h.sform_code <= 0) return;
  if (!is_rotation(h)) {
    warnings.push_back("the qform is no rotation: its quaternion is longer than 1; the sform is used");
    return;
  }
  const double apart_mm = largest_corner_distance_mm(g.shape, g.affine, scaled(affine_of_qform(h), unit));
  constexpr double kTolerance = 0.1;  // of a voxel: rounding of f32 headers stays far below
  if (apart_mm > kTolerance * *std::min_element(g.spacing_mm.begin(), g.spacing_mm.end()))
    warnings.push_back(
        sentence("qform and sform disagree: a corner lies ", apart_mm, " mm apart by the two; the sform is used"));
}

}  // namespace

double nifti_unit_mm(int xyzt_units) {
  switch (xyzt_units & 7) {
    case 1: return 1000;
    case 3: return 0.001;
    default: return 1;
  }
}

NiftiHeader read_nifti_fields(InputFile& file) {
  Bytes bytes(nifti_header_bytes(2));
  const size_t have = file.read(bytes.data(), nifti_header_bytes(1));
  const std::string where = file.path().string();
  if (have == 0) fail(Fault::input, where, ": the file is empty; copy or export it again");
  int32_t size = 0;
  std::memcpy(&size, bytes.data(), std::min(have, sizeof size));
  NiftiHeader h;
  h.swapped = size != 348 && size != 540;
  if (h.swapped) size = byte_swapped(size);
  if (size != 348 && size != 540)
    fail(Fault::input, where,
         ": is not a NIfTI file: it does not begin with 348 or 540; DICOM becomes NIfTI by dcm2niix");
  h.version = size == 348 ? 1 : 2;
  const size_t full = nifti_header_bytes(h.version);
  const size_t more = have == nifti_header_bytes(1) ? file.read(bytes.data() + have, full - have) : 0;
  if (have + more < full)
    fail(Fault::input, where, ": the header is truncated: ", have + more, " of ", full, " bytes; copy the file again");
  const std::string_view magic(reinterpret_cast<const char*>(bytes.data()) + (h.version == 1 ? 344 : 4), 8);
  const std::string_view name = magic.substr(0, 3), tail = magic.substr(3);
  h.single = name[1] == '+';
  const Loader loader{bytes.data(), h.swapped};
  if (h.version == 1) {
    if ((name != "n+1" && name != "ni1") || tail[0] != '\0') refuse_magic(file.path());
    each_field_1(loader, h);
  } else {
    if ((name != "n+2" && name != "ni2") || tail != kMagic2Tail)
      fail(Fault::input, where,
           ": the header has the size of NIfTI-2 but not its magic: it is damaged, export it again");
    each_field_2(loader, h);
  }
  return h;
}

Bytes nifti_bytes(const NiftiHeader& h) {
  Bytes bytes(nifti_header_bytes(h.version) + 4);
  const Storer storer{bytes.data()};
  storer.field<int32_t>(0, nifti_header_bytes(h.version));
  if (h.version == 1) {
    each_field_1(storer, h);
    std::memcpy(bytes.data() + 344, "n+1", 4);
  } else {
    each_field_2(storer, h);
    std::memcpy(bytes.data() + 4, "n+2", 3);
    std::memcpy(bytes.data() + 7, kMagic2Tail.data(), kMagic2Tail.size());
  }
  return bytes;
}

Geometry nifti_geometry(const NiftiHeader& h, const Path& path, std::vector<std::string>& warnings) {
  Geometry g;
  g.shape = volume_shape(h, path);
  g.version = h.version;
  g.xyzt_units = static_cast<uint8_t>(h.xyzt_units);
  g.qform_code = h.qform_code;
  g.sform_code = h.sform_code;
  g.quatern = h.quatern;
  g.qfac = h.pixdim[0];
  for (size_t n = 0; n < 12; ++n) g.srow[n / 4][n % 4] = h.srow[n];
  const double unit = nifti_unit_mm(h.xyzt_units);
  for (size_t a = 0; a < 3; ++a) {
    g.spacing_mm[a] = std::abs(h.pixdim[a + 1]) * unit;
    if (!std::isfinite(g.spacing_mm[a]) || g.spacing_mm[a] == 0)
      fail(Fault::input, path.string(), ": the spacing pixdim[", a + 1, "] is ", h.pixdim[a + 1],
           ", expected a length; the header is damaged, export it again");
  }
  constexpr double kLeastMm = 0.001, kMostMm = 1000;
  const auto [least, most] = std::minmax_element(g.spacing_mm.begin(), g.spacing_mm.end());
  if (*least < kLeastMm || *most > kMostMm)
    warnings.push_back(
        sentence("a spacing of ", g.spacing_mm[0], 'x', g.spacing_mm[1], 'x', g.spacing_mm[2], " mm is no scanner's"));
  if (unit != 1)
    warnings.push_back(
        sentence("lengths are given in ", unit > 1 ? "metres" : "micrometres", "; converted to millimetres"));
  g.affine = scaled(affine_of(h, path), unit);
  try {
    g.affine.inverse();
  } catch (const Error& error) {
    fail(error.fault(), path.string(), ": ", error.what(), "; the header is damaged, export it again");
  }
  for (size_t a = 0; a < 3; ++a) {
    const double length = std::hypot(g.affine.m[0][a], g.affine.m[1][a], g.affine.m[2][a]);
    constexpr double kAgree = 0.01;
    if (std::abs(length - g.spacing_mm[a]) > kAgree * g.spacing_mm[a])
      warnings.push_back(sentence("the spacing along axis ", a, " is ", g.spacing_mm[a], " mm by pixdim and ", length,
                                  " mm by the affine"));
  }
  warn_of_orientation(h, g, unit, warnings);
  return g;
}

}  // namespace metvox
