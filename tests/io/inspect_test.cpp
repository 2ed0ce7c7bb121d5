// SPDX-License-Identifier: Apache-2.0
#include "io/inspect.h"

#include <cmath>
#include <cstring>

#include "io/json.h"
#include "io/nifti.h"
#include "io_testing.h"

namespace metvox {
namespace {

const Path kGolden = Path(METVOX_SOURCE_DIR) / "tests/golden/nifti";
// Where a NIfTI-1 header has them.
constexpr size_t kDatatype = 70, kSlope = 112, kInter = 116;

}  // namespace

TEST(inspect, is_exact_where_f32_is_not) {
  Scratch scratch;
  Tensor whole = Tensor::empty({1, 1, 3}, DType::i32);
  const int32_t values[] = {16777217, 16777219, 2147483647};
  std::copy_n(values, 3, whole.data<int32_t>());
  const Geometry grid = make_geometry({3, 1, 1}, {});
  write_nifti(scratch / "a.nii", whole, grid);
  const Json seen = inspect_image(scratch / "a.nii", std::array<double, 3>{1, 0, 0});
  EXPECT_EQ(seen["min"], 16777217.0);
  EXPECT_EQ(seen["max"], 2147483647.0);
  EXPECT_EQ(seen["mean"], (16777217.0 + 16777219.0 + 2147483647.0) / 3);
  EXPECT_EQ(seen["value"], 16777219.0);

  // The same eight bytes a voxel as other types, and scaled.
  const auto of_type = [&](int16_t code, const auto& voxel, float slope) {
    write_nifti(scratch / "b.nii", Tensor::zeros({1, 1, 2}, DType::f32), make_geometry({2, 1, 1}, {}));
    Bytes bytes = read_bytes(scratch / "b.nii");
    static_assert(sizeof voxel == 8);
    bytes.resize(352 + 16);
    const int16_t bits = 64;
    const float inter = 0.5;
    std::memcpy(bytes.data() + kDatatype, &code, 2);
    std::memcpy(bytes.data() + kDatatype + 2, &bits, 2);
    std::memcpy(bytes.data() + kSlope, &slope, 4);
    std::memcpy(bytes.data() + kInter, &inter, 4);
    for (size_t at : {352, 360}) std::memcpy(bytes.data() + at, &voxel, 8);
    write_bytes(scratch / "b.nii", bytes);
    const Json found = inspect_image(scratch / "b.nii", std::array<double, 3>{0, 0, 0});
    EXPECT_EQ(found["min"], found["value"]);
    EXPECT_EQ(found["mean"], found["value"]);
    return found["value"].get<double>();
  };
  EXPECT_EQ(of_type(64, 0.1, 0), 0.1);
  EXPECT_EQ(of_type(64, 1e300, 0), 1e300);
  EXPECT_EQ(of_type(1024, int64_t{-9007199254740993}, 0), static_cast<double>(-9007199254740993));
  EXPECT_EQ(of_type(1280, uint64_t{18446744073709551615u}, 0), 18446744073709551616.0);
  EXPECT_EQ(of_type(1024, int64_t{16777217}, 3), 16777217.0 * 3 + 0.5);
}

TEST(inspect, reports_the_contract) {
  const Json seen = inspect_image(kGolden / "slope.nii",
                                  std::array<double, 3>{-80.5 - 0.9 * 2.3, 70.25 - 1.1 * 0.6, -33 + 2.5 * 1.2});
  std::vector<std::string> keys;
  for (const auto& [key, value] : seen.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"shape", "spacing_mm", "axes", "dtype", "affine", "min", "max", "mean",
                                            "warnings", "value"}));
  EXPECT_EQ(seen["shape"], (Json{5, 4, 3}));
  EXPECT_EQ(seen["axes"], "LPS");
  EXPECT_EQ(seen["dtype"], "int16");
  EXPECT_EQ(seen["value"].get<float>(), read_nifti(kGolden / "slope.nii").voxels.data<float>()[2 + 5 * (1 + 4 * 1)]);
  EXPECT_TRUE(refused(
      [] {
        inspect_image(kGolden / "slope.nii", std::array<double, 3>{500, 0, 0});
      },
      "mm is outside the image"));
  EXPECT_TRUE(refused(
      [] {
        inspect_image(kGolden / "slope.nii", std::array<double, 3>{NAN, 0, 0});
      },
      "mm is outside the image"));
}

}  // namespace metvox
