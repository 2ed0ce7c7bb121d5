// SPDX-License-Identifier: Apache-2.0
// tests/golden/nifti holds small odd files made by tests/golden/make_nifti.py and what nibabel reads from them.
#include "io/nifti.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "io/inspect.h"
#include "io/json.h"
#include "io_testing.h"

namespace metvox {
namespace {

const Path kGolden = Path(METVOX_SOURCE_DIR) / "tests/golden/nifti";

// A version-1 file of 4x3x2 voxels i16 in memory.
Bytes small_file() {
  Scratch scratch;
  Tensor voxels = Tensor::zeros({2, 3, 4}, DType::i16);
  for (int n = 0; n < 24; ++n) voxels.data<int16_t>()[n] = static_cast<int16_t>(n * 10 - 50);
  Affine affine;
  affine.m[0][3] = -3;
  write_nifti(scratch / "a.nii", voxels, make_geometry({4, 3, 2}, affine));
  return read_bytes(scratch / "a.nii");
}

// The small file, to be damaged.
struct Maker {
  Bytes bytes = [] {
    static const Bytes whole = small_file();
    return whole;
  }();
  template <class T>
  Maker& set(size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    return *this;
  }
  Maker& cut(size_t size) {
    bytes.resize(size);
    return *this;
  }
};

// Without the flush to disk of write_bytes(), for tests that write a thousand files.
void put(const Path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// The sentence with which the file is refused.
std::string refusal_of(const Maker& maker, const std::string& name = "a.nii") {
  Scratch scratch;
  put(scratch / name, maker.bytes);
  const std::string text = refusal([&] { read_nifti(scratch / name); });
  EXPECT_TRUE(text.find((scratch / name).string()) != std::string::npos) << text;
  return text;
}
#define EXPECT_REFUSED(maker, part) EXPECT_NE(refusal_of(maker).find(part), std::string::npos) << refusal_of(maker)

constexpr size_t kDim = 40, kDatatype = 70, kPixdim = 76, kVoxOffset = 108, kSlope = 112, kInter = 116,
                 kQformCode = 252, kSformCode = 254, kQuatern = 256, kSrow = 280, kMagic = 344;

Geometry odd_geometry(int version) {
  Geometry g;
  g.shape = {4, 3, 2};
  g.spacing_mm = {0.3f, 1.7f, 5.1f};
  g.version = version;
  g.qform_code = 3;
  g.sform_code = 2;
  g.qfac = -1;
  g.quatern = {0.11f, -0.23f, 0.37f, -91.3f, 126.7f, -72.1f};
  g.srow = {{{0.29f, 0.01f, 0.2f, -90.1f}, {-0.02f, 1.69f, 0.3f, 3.3f}, {0.03f, 0.04f, -5.09f, 7.7f}}};
  std::copy(g.srow.begin(), g.srow.end(), g.affine.m.begin());
  g.xyzt_units = 10;
  return g;
}

}  // namespace

TEST(nifti, reads_what_nibabel_reads) {
  const Path list = kGolden / "expected.json";
  for (const Json& expected : read_json(list)) {
    const auto file = get<std::string>(expected, "file", list);
    SCOPED_TRACE(file);
    const Volume v = read_nifti(kGolden / file);
    const Geometry& g = v.geometry;
    EXPECT_EQ(v.dtype_on_disk, get<std::string>(expected, "dtype", list));
    EXPECT_EQ(g.shape, (get<std::array<int64_t, 3>>(expected, "shape", list)));
    EXPECT_EQ(g.spacing_mm, (get<std::array<double, 3>>(expected, "spacing_mm", list)));
    EXPECT_EQ(g.axes(), get<std::string>(expected, "axes", list));
    EXPECT_EQ(g.version, get<int>(expected, "version", list));
    EXPECT_EQ(g.qform_code, get<int>(expected, "qform_code", list));
    EXPECT_EQ(g.sform_code, get<int>(expected, "sform_code", list));
    const std::string warning = file == "no-forms.nii"     ? "qform_code and sform_code are 0"
                                : file == "both-forms.nii" ? "qform and sform disagree"
                                                           : "";
    ASSERT_EQ(v.warnings.size(), warning.empty() ? 0u : 1u);
    for (const std::string& w : v.warnings) EXPECT_TRUE(w.starts_with(warning)) << w;
    const auto affine = get<std::vector<std::vector<double>>>(expected, "affine", list);
    // Both work in double; the longest entry is below 100.
    for (size_t r = 0; r < 4; ++r)
      for (size_t c = 0; c < 4; ++c) EXPECT_NEAR(g.affine.m[r][c], affine[r][c], 1e-12) << r << ' ' << c;
    const auto values = get<std::vector<double>>(expected, "values", list);
    ASSERT_EQ(values.size(), static_cast<size_t>(v.voxels.size()));
    for (size_t n = 0; n < values.size(); ++n)  // one rounding to f32
      EXPECT_NEAR(v.voxels.data<float>()[n], values[n], std::abs(values[n]) * 0x1p-24) << n;
    EXPECT_FALSE(read_nifti_header(kGolden / file).voxels);
  }
}

TEST(nifti, either_half_of_a_pair_opens_it) {
  EXPECT_EQ(read_nifti(kGolden / "pair-big.hdr").voxels.size(), 60);
  EXPECT_EQ(read_nifti(kGolden / "pair-zipped.hdr.gz").voxels.size(), 60);
  Scratch scratch;
  std::filesystem::copy(kGolden / "pair-big.hdr", scratch / "a.hdr");
  EXPECT_TRUE(refused([&] { read_nifti(scratch / "a.hdr"); }, "a.img is missing"));
  std::filesystem::copy(kGolden / "pair-zipped.img.gz", scratch / "b.img.gz");
  EXPECT_TRUE(refused([&] { read_nifti(scratch / "b.img.gz"); }, "b.hdr.gz is missing"));
}

TEST(nifti, gzip_is_known_by_content) {
  Scratch scratch;
  std::filesystem::copy(kGolden / "zipped.nii.gz", scratch / "a.nii");
  EXPECT_EQ(read_nifti(scratch / "a.nii").voxels.size(), 60);
}

TEST(nifti, written_voxels_come_back) {
  Scratch scratch;
  for (DType dtype : {DType::u8, DType::i16, DType::i32, DType::f32}) {
    Tensor voxels = Tensor::zeros({2, 3, 4}, dtype);
    for (size_t n = 0; n < voxels.bytes(); ++n)
      static_cast<uint8_t*>(voxels.view().data)[n] = static_cast<uint8_t>(n % 5);
    for (int version : {1, 2})
      for (const char* name : {"a.nii", "a.nii.gz"}) {
        write_nifti(scratch / name, voxels, odd_geometry(version));
        const Volume v = read_nifti(scratch / name);
        EXPECT_EQ(v.geometry.version, version);
        EXPECT_EQ(v.geometry.affine.m, odd_geometry(version).affine.m);
        const auto value = [&](int64_t n) {
          const void* data = voxels.view().data;
          switch (dtype) {
            case DType::u8: return static_cast<float>(static_cast<const uint8_t*>(data)[n]);
            case DType::i16: return static_cast<float>(static_cast<const int16_t*>(data)[n]);
            case DType::i32: return static_cast<float>(static_cast<const int32_t*>(data)[n]);
            default: return static_cast<const float*>(data)[n];
          }
        };
        for (int64_t n = 0; n < voxels.size(); ++n)
          EXPECT_EQ(v.voxels.data<float>()[n], value(n)) << name_of(dtype) << n;
      }
  }
  EXPECT_EQ(scratch.files(), 2u);
}

// A mask on the grid of an image: the bytes of pixdim[0..3], units, codes, qform and sform are the image's.
TEST(nifti, mask_repeats_the_geometry_bit_for_bit) {
  Scratch scratch;
  for (const char* name :
       {"qform-mirrored.nii", "both-forms.nii", "no-forms.nii", "sform-oblique.nii", "v2-i2-little.nii"}) {
    SCOPED_TRACE(name);
    const Volume image = read_nifti(kGolden / name);
    write_nifti(scratch / "mask.nii", Tensor::zeros(image.voxels.shape(), DType::u8), image.geometry,
                {.intent_code = 1002});
    const Bytes a = read_bytes(kGolden / name), b = read_bytes(scratch / "mask.nii");
    const auto same = [&](size_t first, size_t count) {
      return std::memcmp(a.data() + first, b.data() + first, count) == 0;
    };
    if (image.geometry.version == 1) {
      EXPECT_TRUE(same(40, 8) && same(76, 16) && same(123, 1) && same(252, 4 + 24 + 48));
    } else {
      EXPECT_TRUE(same(16, 32) && same(104, 32) && same(500, 4) && same(344, 8 + 48 + 96));
    }
  }
}

TEST(nifti, long_axes_and_texts_are_kept_in_bounds) {
  Scratch scratch;
  const Tensor row = Tensor::zeros({1, 1, 40000}, DType::u8);
  write_nifti(scratch / "a.nii.gz", row, make_geometry({40000, 1, 1}, {}), {.description = std::string(200, 'x')});
  const Volume v = read_nifti(scratch / "a.nii.gz");
  EXPECT_EQ(v.geometry.version, 2);
  EXPECT_EQ(v.geometry.shape[0], 40000);
}

TEST(nifti, refuses_what_is_no_volume) {
  EXPECT_REFUSED(Maker().set<int16_t>(kDim, 2), "is a 2-D image");
  EXPECT_REFUSED(Maker().set<int16_t>(kDim, 1), "is a 1-D image");
  EXPECT_REFUSED(Maker().set<int16_t>(kDim, 4).set<int16_t>(kDim + 8, 5), "several volumes (dim[4] is 5)");
  EXPECT_REFUSED(Maker().set<int16_t>(kDim, 5).set<int16_t>(kDim + 10, 3), "vectors (dim[5] is 3)");
  EXPECT_REFUSED(Maker().set<int16_t>(kDim, 7).set<int16_t>(kDim + 14, 2), "dim[7] is 2");
  EXPECT_REFUSED(Maker().set<int16_t>(kDatatype, 128), "the voxels are RGB,");
  EXPECT_REFUSED(Maker().set<int16_t>(kDatatype, 2304), "the voxels are RGBA,");
  EXPECT_REFUSED(Maker().set<int16_t>(kDatatype, 32), "the voxels are complex64,");
  EXPECT_REFUSED(Maker().set<int16_t>(kDatatype, 1536), "the voxels are float128,");
  EXPECT_REFUSED(Maker().set<int16_t>(kDatatype, 77), "datatype 77 is not one of NIfTI's");
}

TEST(nifti, refuses_damaged_headers) {
  EXPECT_REFUSED(Maker().cut(0), "the file is empty");
  EXPECT_REFUSED(Maker().cut(3), "the header is truncated: 3 of 348 bytes");
  EXPECT_REFUSED(Maker().cut(347), "the header is truncated: 347 of 348 bytes");
  EXPECT_REFUSED(Maker().set<int32_t>(0, 540).cut(400), "the header is truncated: 400 of 540 bytes");
  EXPECT_REFUSED(Maker().set<int32_t>(0, 540), "truncated");
  EXPECT_REFUSED(Maker().set<int32_t>(0, 349), "is not a NIfTI file");
  EXPECT_REFUSED(Maker().set<int32_t>(kMagic, 0), "looks like Analyze 7.5");
  EXPECT_REFUSED(Maker().set<char>(kMagic + 2, '3'), "looks like Analyze 7.5");
  EXPECT_REFUSED(Maker().set<char>(kMagic + 1, 'i'), "in an .img file, but the name does not end in .hdr");
  EXPECT_NE(refusal_of(Maker(), "a.hdr").find("in the same file, but the name ends in .hdr"), std::string::npos);
  for (int rank : {0, -1, 8, 256})
    EXPECT_REFUSED(Maker().set(kDim, static_cast<int16_t>(rank)), "dim[0] is " + std::to_string(rank));
  EXPECT_REFUSED(Maker().set<int16_t>(kDim + 4, 0), "dim[2] is 0");
  EXPECT_REFUSED(Maker().set<int16_t>(kDim + 2, -4), "dim[1] is -4");
}

TEST(nifti, refuses_dims_that_the_file_cannot_back) {
  EXPECT_REFUSED(Maker().set<int16_t>(kDim + 2, 5),
                 "promises 5x3x2 voxels of 2 bytes from byte 352, the file can hold at most 400");
  Maker huge;
  for (size_t n : {1, 2, 3}) huge.set<int16_t>(kDim + 2 * n, 32767);
  EXPECT_REFUSED(huge, "promises 32767x32767x32767 voxels");
  EXPECT_REFUSED(Maker().cut(399), "at most 399 bytes");
  for (float offset : {400.0f, 1e9f}) EXPECT_REFUSED(Maker().set(kVoxOffset, offset), "from byte ");
  for (float offset : {-1.0f, 100.0f, 352.5f, 1e18f, NAN, INFINITY})
    EXPECT_REFUSED(Maker().set(kVoxOffset, offset), "vox_offset is ");
  Scratch scratch;
  put(scratch / "a.nii.gz", gzip(huge.bytes));
  EXPECT_TRUE(refused([&] { read_nifti_header(scratch / "a.nii.gz"); }, "the file can hold at most"));
  // A gzip file could hold so many bytes but does not.
  put(scratch / "b.nii.gz", gzip(Maker().set<int16_t>(kDim + 2, 50).bytes));
  EXPECT_TRUE(refused([&] { read_nifti(scratch / "b.nii.gz"); },
                      "the voxels are truncated: the header promises 300, the file ends in voxel 24"));
}

TEST(nifti, overflowing_dims_of_version_2_are_refused) {
  Scratch scratch;
  write_nifti(scratch / "a.nii", Tensor::zeros({2, 3, 4}, DType::u8), odd_geometry(2));
  Bytes bytes = read_bytes(scratch / "a.nii");
  const int64_t big = std::numeric_limits<int64_t>::max() / 3;
  for (size_t axis : {1, 2, 3}) std::memcpy(bytes.data() + 16 + 8 * axis, &big, 8);
  put(scratch / "a.nii", bytes);
  EXPECT_TRUE(refused([&] { read_nifti(scratch / "a.nii"); }, "the header promises"));
  std::memset(bytes.data() + 7, 0, 5);
  put(scratch / "a.nii", bytes);
  EXPECT_TRUE(refused([&] { read_nifti(scratch / "a.nii"); }, "size of NIfTI-2 but not its magic"));
}

TEST(nifti, refuses_geometry_that_is_none) {
  const float nan = NAN;
  EXPECT_REFUSED(Maker().set(kPixdim + 4, 0.0f), "the spacing pixdim[1] is 0");
  EXPECT_REFUSED(Maker().set(kPixdim + 12, nan), "the spacing pixdim[3] is nan");
  EXPECT_REFUSED(Maker().set(kSrow + 4, nan), "the sform has a number that is not finite");
  EXPECT_REFUSED(Maker().set(kQuatern, nan), "the qform has a number that is not finite");
  EXPECT_REFUSED(Maker().set<int16_t>(kSformCode, 0).set(kQuatern, 2.0f), "is longer than 1");
  EXPECT_REFUSED(Maker().set(kSrow, 0.0f), "the affine is singular");
  EXPECT_REFUSED(Maker().set(kSlope, 2.0f).set(kInter, nan), "scl_inter is nan");
}

TEST(nifti, oddities_become_warnings) {
  Scratch scratch;
  const auto warning = [&](const Maker& maker) {
    put(scratch / "a.nii", maker.bytes);
    const Volume v = read_nifti(scratch / "a.nii");
    return v.warnings.size() == 1 ? v.warnings[0] : sentence(v.warnings.size(), " warnings");
  };
  EXPECT_EQ(warning(Maker().set<int16_t>(kDatatype + 2, 8)), "bitpix is 8 but int16 voxels have 16 bits");
  EXPECT_EQ(warning(Maker().set<int16_t>(kQformCode, 0).set(kPixdim + 4, 2.0f)),
            "the spacing along axis 0 is 2 mm by pixdim and 1 mm by the affine");
  EXPECT_EQ(warning(Maker().set(kSlope, std::numeric_limits<float>::infinity())),
            "scl_slope is inf; the voxels are taken as they are stored");
  EXPECT_EQ(warning(Maker().set<int16_t>(kSformCode, 0).set(kPixdim + 4, 1e30f)),
            sentence("a spacing of ", double{1e30f}, "x1x1 mm is no scanner's"));
  EXPECT_EQ(warning(Maker().set<uint8_t>(123, 1)), "lengths are given in metres; converted to millimetres");
  EXPECT_EQ(read_nifti_header(scratch / "a.nii").geometry.spacing_mm[2], 1000);
  EXPECT_EQ(read_nifti_header(scratch / "a.nii").geometry.affine.m[0][3], -3000);
  EXPECT_TRUE(warning(Maker().set<int16_t>(kSformCode, 0).set<int16_t>(kQformCode, 0))
                  .starts_with("qform_code and sform_code are 0: the header does not say which side is left"));
  EXPECT_EQ(read_nifti_header(scratch / "a.nii").geometry.axes(), "unknown");
}

TEST(nifti, two_places_for_one_image_become_a_warning) {
  Scratch scratch;
  const auto warnings = [&](const Maker& maker) {
    put(scratch / "a.nii", maker.bytes);
    return read_nifti_header(scratch / "a.nii").warnings;
  };
  float x = 0;
  std::memcpy(&x, Maker().bytes.data() + kSrow + 12, sizeof x);
  EXPECT_EQ(warnings(Maker().set(kSrow + 12, x + 0.01f)), std::vector<std::string>());
  EXPECT_EQ(
      warnings(Maker().set(kSrow + 12, x + 5)),
      std::vector<std::string>{"qform and sform disagree: a corner lies 5 mm apart by the two; the sform is used"});
  EXPECT_EQ(warnings(Maker().set<int16_t>(kQformCode, 0).set(kSrow + 12, x + 5)), std::vector<std::string>());
  EXPECT_EQ(warnings(Maker().set(kQuatern, 2.0f)),
            std::vector<std::string>{"the qform is no rotation: its quaternion is longer than 1; the sform is used"});
}

TEST(nifti, non_finite_voxels_are_counted) {
  Scratch scratch;
  Tensor voxels = Tensor::zeros({2, 3, 4}, DType::f32);
  std::fill_n(voxels.data<float>(), 24, 2.0f);
  voxels.data<float>()[3] = NAN;
  voxels.data<float>()[7] = INFINITY;
  write_nifti(scratch / "a.nii", voxels, make_geometry({4, 3, 2}, {}));
  const Volume v = read_nifti(scratch / "a.nii");
  EXPECT_EQ(v.warnings, (std::vector<std::string>{"2 of 24 voxels are not finite; taken as 0"}));
  EXPECT_EQ(v.voxels.data<float>()[3], 0);
  EXPECT_EQ(v.voxels.data<float>()[4], 2);
  EXPECT_TRUE(std::isnan(read_nifti(scratch / "a.nii", NonFinite::keep).voxels.data<float>()[3]));
  const Json seen = inspect_image(scratch / "a.nii");
  EXPECT_EQ(seen["min"], 2.0);
  EXPECT_EQ(seen["mean"], 2.0);
  EXPECT_EQ(seen["warnings"][0], "2 of 24 voxels are not finite");
}

TEST(nifti, corrupt_gzip_is_refused) {
  Scratch scratch;
  const Bytes whole = gzip(Maker().bytes);
  const auto text = [&](const Bytes& bytes) {
    put(scratch / "a.nii.gz", bytes);
    return refusal([&] { read_nifti(scratch / "a.nii.gz"); });
  };
  for (size_t size : {whole.size() - 1, whole.size() - 9, whole.size() / 2, size_t{12}})
    EXPECT_NE(text({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}).find("truncated"), std::string::npos)
        << size;
  Bytes checksum = whole;
  checksum[whole.size() - 5] ^= std::byte{1};
  EXPECT_NE(text(checksum).find("corrupt"), std::string::npos);
}

// Every byte of the header, changed in several ways: read or refused, never anything else.
TEST(nifti, any_header_byte_may_be_damaged) {
  Scratch scratch;
  const Maker good;
  for (size_t at = 0; at < 352; ++at)
    for (int flip : {0x01, 0x80, 0xff}) {
      Maker bad = good;
      bad.bytes[at] ^= static_cast<std::byte>(flip);
      const Path path = scratch / sentence(at, '-', flip, ".nii");  // rewriting one file would wait for the disk
      put(path, bad.bytes);
      try {
        read_nifti(path);
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::input) << at << ": " << error.what();
      }
    }
}

TEST(nifti, voxels_are_read_to_their_place_where_they_fit) {
  Scratch scratch;
  const Tensor voxels = Tensor::zeros({2, 3, 4}, DType::i16);
  for (int i = 0; i < 24; ++i) voxels.data<int16_t>()[i] = static_cast<int16_t>(i - 5);
  write_nifti(scratch / "a.nii", voxels, odd_geometry(1));
  const Tensor all = Tensor::zeros({3, 2, 3, 4}, DType::f32), place = all.slice(1, 1).reshape({2, 3, 4});
  EXPECT_EQ(read_nifti(scratch / "a.nii", NonFinite::zero, DType::f32, place).voxels.view().data, place.view().data);
  for (int i = 0; i < 72; ++i)
    EXPECT_EQ(all.data<float>()[i], i < 24 || i >= 48 ? 0.f : static_cast<float>(i - 29)) << i;
  for (const Tensor& other : {place.reshape({3, 2, 4}), Tensor::zeros({2, 3, 4}, DType::f64)}) {
    const Volume v = read_nifti(scratch / "a.nii", NonFinite::zero, DType::f32, other);
    EXPECT_NE(v.voxels.view().data, other.view().data);
    EXPECT_EQ(v.voxels.data<float>()[23], 18.f);
  }
}

// Real files, where they are at hand: METVOX_REAL_DATA names their folder.
TEST(nifti, real_files_in_eight_orders_show_one_picture) {
  const char* folder = std::getenv("METVOX_REAL_DATA");
  if (!folder) GTEST_SKIP() << "METVOX_REAL_DATA is not set";
  const Path orders = Path(folder) / "orientations";
  const Volume ras = read_nifti(orders / "RAS.nii.gz");
  for (const char* name : {"AIR", "ILA", "LAS", "LPS", "PSR", "RPI", "SPL"}) {
    const Volume v = read_nifti(orders / (std::string(name) + ".nii.gz"));
    EXPECT_EQ(v.geometry.axes(), name);
    const Tensor same = onto_lattice(v, ras.geometry);
    ASSERT_TRUE(same) << name;
    EXPECT_EQ(std::memcmp(same.view().data, ras.voxels.view().data, same.bytes()), 0) << name;
  }
}

TEST(nifti, real_files_with_odd_headers) {
  const char* folder = std::getenv("METVOX_REAL_DATA");
  if (!folder) GTEST_SKIP() << "METVOX_REAL_DATA is not set";
  const Volume qform_only = read_nifti_header(Path(folder) / "open-ms/open-ms-19/open-ms-19-t1c.nii.gz");
  EXPECT_EQ(qform_only.geometry.axes(), "LAS");
  EXPECT_EQ(qform_only.geometry.sform_code, 0);
  for (const char* name : {"icbm152-tissues", "sri24-t1-skullstripped", "sri24-tissues"})
    EXPECT_EQ(read_nifti(Path(folder) / "atlas" / (std::string(name) + ".nii.gz")).voxels.shape().rank(), 3) << name;
  const Volume mask = read_nifti_labels(Path(folder) / "brats2013/brats2013-0003/brats2013-0003-brainmask.nii.gz");
  int64_t ones = 0;
  for (int64_t n = 0; n < mask.voxels.size(); ++n) ones += mask.voxels.data<uint8_t>()[n];
  EXPECT_EQ(ones, 1690470);
}

}  // namespace metvox
