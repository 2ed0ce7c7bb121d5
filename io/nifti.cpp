// SPDX-License-Identifier: Apache-2.0
#include "io/nifti.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "io/nifti_header.h"

namespace metvox {
namespace {

// datatype codes of nifti1.h
struct DataType {
  int code;
  size_t bytes;  // 0: refused
  const char* name;
};
constexpr DataType kDataTypes[] = {
    {2, 1, "uint8"},         {4, 2, "int16"},      {8, 4, "int32"},    {16, 4, "float32"},    {64, 8, "float64"},
    {256, 1, "int8"},        {512, 2, "uint16"},   {768, 4, "uint32"}, {1024, 8, "int64"},    {1280, 8, "uint64"},
    {1, 0, "1-bit"},         {32, 0, "complex64"}, {128, 0, "RGB"},    {1536, 0, "float128"}, {1792, 0, "complex128"},
    {2048, 0, "complex256"}, {2304, 0, "RGBA"}};

const DataType& data_type(int code, const Path& path) {
  for (const DataType& type : kDataTypes) {
    if (type.code != code) continue;
    if (type.bytes > 0) return type;
    fail(Fault::input, path.string(), ": the voxels are ", type.name,
         ", expected integers or floats of up to 64 bits; convert the image");
  }
  fail(Fault::input, path.string(), ": the datatype ", code,
       " is not one of NIfTI's; the header is damaged, export it again");
}

// From bytes as they lie in the file to floats, n voxels; `x` is overwritten when the bytes must be swapped.
template <class Real>
using Convert = void (*)(std::byte* x, Real* y, int64_t n, bool swapped, double slope, double inter);

template <class T, class Bits, class Real>
void convert(std::byte* bytes, Real* y, int64_t n, bool swapped, double slope, double inter) {
  T* x = reinterpret_cast<T*>(bytes);
  if constexpr (sizeof(Bits) > 1) {
    if (swapped)
      for (int64_t i = 0; i < n; ++i) x[i] = std::bit_cast<T>(byte_swapped(std::bit_cast<Bits>(x[i])));
  }
  if (slope == 1 && inter == 0)
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<Real>(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<Real>(static_cast<double>(x[i]) * slope + inter);
}

template <class Real>
Convert<Real> converter(int code) {
  switch (code) {
    case 2: return convert<uint8_t, uint8_t, Real>;
    case 4: return convert<int16_t, uint16_t, Real>;
    case 8: return convert<int32_t, uint32_t, Real>;
    case 16: return convert<float, uint32_t, Real>;
    case 64: return convert<double, uint64_t, Real>;
    case 256: return convert<int8_t, uint8_t, Real>;
    case 512: return convert<uint16_t, uint16_t, Real>;
    case 768: return convert<uint32_t, uint32_t, Real>;
    case 1024: return convert<int64_t, uint64_t, Real>;
    default: return convert<uint64_t, uint64_t, Real>;
  }
}

bool has_suffix(const Path& path, std::string_view suffix) { return path.filename().string().ends_with(suffix); }

// The other half of a .hdr/.img pair, itself plain or .gz.
Path partner(const Path& path, const std::string& from, const std::string& to) {
  std::string stem = path.string();
  const bool zipped = stem.ends_with(".gz");
  stem.resize(stem.size() - from.size() - (zipped ? 3 : 0));
  const Path same = stem + to + (zipped ? ".gz" : ""), other = stem + to + (zipped ? "" : ".gz");
  if (std::filesystem::exists(same)) return same;
  if (std::filesystem::exists(other)) return other;
  fail(Fault::input, path.string(), ": its other half ", same.filename().string(),
       " is missing; put it into the same folder");
}

bool is_pair(const Path& path, std::string_view half) {
  return has_suffix(path, half) || has_suffix(path, std::string(half) + ".gz");
}

// A file opened up to its voxels.
struct Opened {
  std::unique_ptr<InputFile> file;
  NiftiHeader header;
  Volume volume;           // without voxels
  size_t voxel_bytes = 0;  // of one
  int64_t count = 0;
};

// The voxels' place: how many bytes of `file` come before them.
uint64_t data_offset(const NiftiHeader& h, const Path& path) {
  const double header_end = h.single ? static_cast<double>(nifti_header_bytes(h.version)) : 0;
  // Some writers leave 0 in a single file: the voxels follow the four bytes of the extension flag.
  const double offset = h.single && h.vox_offset == 0 ? header_end + 4 : h.vox_offset;
  constexpr double kExact = 0x1p53;
  if (!(offset >= header_end && offset < kExact) || offset != std::floor(offset))
    fail(Fault::input, path.string(), ": vox_offset is ", h.vox_offset, ", expected a byte from ", header_end,
         " on; the header is damaged, export it again");
  return static_cast<uint64_t>(offset);
}

// Overflow-safe check of "offset + count voxels lie in the file", before any memory is taken.
void check_backed(Opened& o, uint64_t offset) {
  const auto& s = o.volume.geometry.shape;
  const Path& path = o.file->path();
  int64_t count = 0, bytes = 0;
  const bool overflow = __builtin_mul_overflow(s[0], s[1], &count) || __builtin_mul_overflow(count, s[2], &count) ||
                        __builtin_mul_overflow(count, static_cast<int64_t>(o.voxel_bytes), &bytes);
  const uint64_t most = o.file->most_bytes();
  if (overflow || offset > most || static_cast<uint64_t>(bytes) > most - offset)
    fail(Fault::input, path.string(), ": the header promises ", s[0], 'x', s[1], 'x', s[2], " voxels of ",
         o.voxel_bytes, o.voxel_bytes == 1 ? " byte" : " bytes", " from byte ", offset, ", the file can hold at most ",
         most, " bytes; it was cut short or its header is damaged, copy or export it again");
  o.count = count;
}

// After what was wanted of the file: reads on, so that the checksum of a gzip file is checked.
void finish(InputFile& file) {
  constexpr uint64_t kMostTrailing = uint64_t{1} << 26;
  if (file.skip(kMostTrailing) == kMostTrailing)
    fail(Fault::input, file.path().string(), ": more than ", kMostTrailing,
         " bytes follow what the header promises; it is damaged, export it again");
}

Opened open_nifti(const Path& given) {
  const Path header_path = is_pair(given, ".img") ? partner(given, ".img", ".hdr") : given;
  Opened o;
  o.file = std::make_unique<InputFile>(header_path);
  o.header = read_nifti_fields(*o.file);
  const NiftiHeader& h = o.header;
  const bool pair = is_pair(header_path, ".hdr");
  if (pair == h.single)
    fail(Fault::input, header_path.string(), ": the magic says that the voxels are in ",
         h.single ? "the same file, but the name ends in .hdr" : "an .img file, but the name does not end in .hdr");
  const DataType& type = data_type(h.datatype, header_path);
  o.voxel_bytes = type.bytes;
  o.volume.dtype_on_disk = type.name;
  if (h.bitpix != static_cast<int>(type.bytes * 8))
    o.volume.warnings.push_back(
        sentence("bitpix is ", h.bitpix, " but ", type.name, " voxels have ", type.bytes * 8, " bits"));
  if (std::isinf(h.scl_slope))  // not a number is how some write "no scaling"
    o.volume.warnings.push_back(sentence("scl_slope is ", h.scl_slope, "; the voxels are taken as they are stored"));
  o.volume.geometry = nifti_geometry(h, header_path, o.volume.warnings);
  const uint64_t offset = data_offset(h, header_path);
  if (pair) {
    finish(*o.file);
    o.file = std::make_unique<InputFile>(partner(header_path, ".hdr", ".img"));
  }
  check_backed(o, offset);
  o.file->skip(pair ? offset : offset - nifti_header_bytes(h.version));
  return o;
}

constexpr int64_t kChunk = 1 << 16;  // voxels that are converted at once: stays in the second-level cache

// Of a chunk, so that the count has no more bits than a voxel.
template <class Real>
int64_t count_non_finite(Real* y, int64_t n, NonFinite treatment) {
  using Bits = std::conditional_t<sizeof(Real) == 4, uint32_t, uint64_t>;
  constexpr Bits kExponent = std::bit_cast<Bits>(std::numeric_limits<Real>::infinity());
  Bits found = 0;
  for (int64_t i = 0; i < n; ++i) found += (std::bit_cast<Bits>(y[i]) & kExponent) == kExponent;
  if (found > 0 && treatment == NonFinite::zero)
    std::replace_if(
        y, y + n, [](Real v) { return !std::isfinite(v); }, Real{0});
  return static_cast<int64_t>(found);
}

struct Scaling {
  double slope = 1, inter = 0;
};

Scaling scaling_of(const NiftiHeader& h, const Path& path) {
  if (!std::isfinite(h.scl_slope) || h.scl_slope == 0) return {};
  if (!std::isfinite(h.scl_inter))
    fail(Fault::input, path.string(), ": scl_inter is ", h.scl_inter, " while scl_slope is ", h.scl_slope,
         "; the header is damaged, write the image again");
  return {h.scl_slope, h.scl_inter};
}

// The voxels a chunk at a time: take(to_real, first, n), where to_real(y) makes n of them out of the file's bytes.
template <class Real, class Take>
void read_voxels(Opened& o, Take&& take) {
  const NiftiHeader& h = o.header;
  const Scaling scaling = scaling_of(h, o.file->path());
  const Convert<Real> convert_chunk = converter<Real>(h.datatype);
  Bytes bytes(static_cast<size_t>(std::min(kChunk, o.count)) * o.voxel_bytes);
  for (int64_t first = 0; first < o.count; first += kChunk) {
    const int64_t n = std::min(kChunk, o.count - first);
    const size_t wanted = static_cast<size_t>(n) * o.voxel_bytes, got = o.file->read(bytes.data(), wanted);
    if (got < wanted)
      fail(Fault::input, o.file->path().string(), ": the voxels are truncated: the header promises ", o.count,
           ", the file ends in voxel ", first + static_cast<int64_t>(got / o.voxel_bytes), "; copy the file again");
    take([&](Real* y) { convert_chunk(bytes.data(), y, n, h.swapped, scaling.slope, scaling.inter); }, first, n);
  }
  finish(*o.file);
}

// Into the tensor; returns how many were not finite.
template <class Real>
int64_t read_into(Opened& o, const Tensor& voxels, NonFinite non_finite) {
  int64_t bad = 0;
  read_voxels<Real>(o, [&](auto&& to_real, int64_t first, int64_t n) {
    Real* y = voxels.data<Real>() + first;
    to_real(y);
    bad += count_non_finite(y, n, non_finite);
  });
  return bad;
}

[[noreturn]] void fail_no_labels(const Path& path, const std::array<int64_t, 3>& shape, int64_t bad, int64_t first,
                                 const std::vector<float>& values) {
  std::string shown;
  for (float value : values) shown += sentence(shown.empty() ? "" : ", ", value);
  fail(Fault::input, path.string(), ": ", bad, bad == 1 ? " voxel holds" : " voxels hold",
       " no label, a whole number from 0 to 255, but ", shown, "; the first is (", first % shape[0], ", ",
       first / shape[0] % shape[1], ", ", first / (shape[0] * shape[1]),
       "); write the labels again without interpolation, or name the label file if this is an image");
}

}  // namespace

Volume read_nifti(const Path& path, NonFinite non_finite, DType dtype, const Tensor& place) {
  check(dtype == DType::f32 || dtype == DType::f64, "read_nifti: ", name_of(dtype), " voxels, expected f32 or f64");
  Opened o = open_nifti(path);
  const auto& s = o.volume.geometry.shape;
  const Shape shape{s[2], s[1], s[0]};
  Volume v = std::move(o.volume);
  v.voxels = place && place.shape() == shape && place.dtype() == dtype ? place : Tensor::empty(shape, dtype);
  const int64_t bad =
      dtype == DType::f32 ? read_into<float>(o, v.voxels, non_finite) : read_into<double>(o, v.voxels, non_finite);
  if (bad > 0)
    v.warnings.push_back(
        sentence(bad, " of ", o.count, " voxels are not finite", non_finite == NonFinite::zero ? "; taken as 0" : ""));
  return v;
}

Volume read_nifti_header(const Path& path) { return open_nifti(path).volume; }

namespace {

constexpr float kLabelTolerance = 1e-3f;

// Rounds them; returns how many are no labels. Without branches, for the compiler makes vectors only of such code.
int32_t round_labels(const float* x, int64_t n, uint8_t* y) {
  int32_t bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t inside = -static_cast<int32_t>((x[i] > -1.0f) & (x[i] < 256.0f));  // all bits or none
    const float value = std::bit_cast<float>(std::bit_cast<int32_t>(x[i]) & inside);
    const auto rounded = static_cast<int32_t>(value + 0.5f);
    const float off = value - static_cast<float>(rounded);
    bad += static_cast<int32_t>((off > kLabelTolerance) | (off < -kLabelTolerance) | (rounded > 255)) | (inside + 1);
    y[i] = static_cast<uint8_t>(rounded);
  }
  return bad;
}

struct NoLabels {
  int64_t count = 0, first = 0;
  std::vector<float> values;  // the first few

  // n voxels with such among them, of which `at` is the first one's place.
  void add(const float* x, int64_t n, int64_t at) {
    for (int64_t i = 0; i < n; ++i) {
      uint8_t label = 0;
      if (round_labels(x + i, 1, &label) == 0) continue;
      if (count++ == 0) first = at + i;
      constexpr size_t kShown = 5;
      const auto same = [&](float value) { return value == x[i] || (std::isnan(value) && std::isnan(x[i])); };
      if (values.size() < kShown && std::none_of(values.begin(), values.end(), same)) values.push_back(x[i]);
    }
  }
};

}  // namespace

Volume read_nifti_labels(const Path& path) {
  Opened o = open_nifti(path);
  const auto& s = o.volume.geometry.shape;
  Volume v = std::move(o.volume);
  v.voxels = Tensor::empty({s[2], s[1], s[0]}, DType::u8);
  std::vector<float> chunk(static_cast<size_t>(std::min(kChunk, o.count)));
  NoLabels bad;
  read_voxels<float>(o, [&](auto&& to_real, int64_t first, int64_t n) {
    to_real(chunk.data());
    if (round_labels(chunk.data(), n, v.voxels.data<uint8_t>() + first) > 0) bad.add(chunk.data(), n, first);
  });
  if (bad.count > 0) fail_no_labels(path, v.geometry.shape, bad.count, bad.first, bad.values);
  return v;
}

namespace {

// Size and kind, then the text, filled up to a multiple of 16 bytes. Nothing for no text.
Bytes comment_extension(const std::string& text) {
  if (text.empty()) return {};
  constexpr int32_t kComment = 6;
  const auto size = static_cast<int32_t>((8 + text.size() + 15) / 16 * 16);
  Bytes bytes(static_cast<size_t>(size));
  std::memcpy(bytes.data(), &size, 4);
  std::memcpy(bytes.data() + 4, &kComment, 4);
  std::memcpy(bytes.data() + 8, text.data(), text.size());
  return bytes;
}

}  // namespace

void write_nifti(const Path& path, const Tensor& voxels, const Geometry& g, const NiftiOptions& options) {
  check(has_suffix(path, ".nii") || has_suffix(path, ".nii.gz"), "write_nifti: ", path.string(),
        " ends in neither .nii nor .nii.gz");
  check(voxels.shape() == Shape{g.shape[2], g.shape[1], g.shape[0]}, "write_nifti: voxels ", voxels.shape(),
        " on a grid of ", g.shape[0], 'x', g.shape[1], 'x', g.shape[2]);
  const int64_t longest = *std::max_element(g.shape.begin(), g.shape.end());
  NiftiHeader h;
  h.version = g.version == 2 || longest > std::numeric_limits<int16_t>::max() ? 2 : 1;
  h.dim = {3, g.shape[0], g.shape[1], g.shape[2], 1, 1, 1, 1};
  switch (voxels.dtype()) {
    case DType::u8: h.datatype = 2; break;
    case DType::i16: h.datatype = 4; break;
    case DType::i32: h.datatype = 8; break;
    case DType::f32: h.datatype = 16; break;
    default: check(false, "write_nifti: ", name_of(voxels.dtype()), " voxels, expected u8, i16, i32 or f32");
  }
  h.bitpix = static_cast<int>(size_of(voxels.dtype()) * 8);
  const double unit = nifti_unit_mm(g.xyzt_units);
  h.pixdim = {g.qfac, g.spacing_mm[0] / unit, g.spacing_mm[1] / unit, g.spacing_mm[2] / unit, 1, 1, 1, 1};
  const Bytes extension = comment_extension(options.comment);
  h.vox_offset = static_cast<double>(nifti_header_bytes(h.version) + 4 + extension.size());
  h.scl_slope = 1;
  h.intent_code = options.intent_code;
  h.description = options.description;
  h.xyzt_units = g.xyzt_units;
  h.qform_code = g.qform_code;
  h.sform_code = g.sform_code;
  h.quatern = g.quatern;
  for (size_t n = 0; n < 12; ++n) h.srow[n] = g.srow[n / 4][n % 4];
  Bytes file = nifti_bytes(h);
  if (!extension.empty()) file[nifti_header_bytes(h.version)] = std::byte{1};
  file.insert(file.end(), extension.begin(), extension.end());
  const auto* data = static_cast<const std::byte*>(voxels.view().data);
  file.insert(file.end(), data, data + voxels.bytes());
  write_bytes(path, has_suffix(path, ".gz") ? gzip(file) : file);
}

}  // namespace metvox
