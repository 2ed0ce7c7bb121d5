// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/plans.h"
#include "tests/segmentation/dataset_folder.h"

namespace metvox {
namespace {

// Two cases of 4 x 4 x 4 voxels with a border of zeros; foreground of the first 1 2 3 4, of the second 10 and 20.
TEST(fingerprint, cases_weigh_alike) {
  const Path root = Path(testing::TempDir()) / sentence("metvox_fingerprint_", ::getpid());
  std::filesystem::create_directories(root);
  Affine a;
  a.m = {{{0.5, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 2, 0}, {0, 0, 0, 1}}};
  const Geometry g = make_geometry({4, 4, 4}, a);
  RawDataset d;
  d.description = brats_description("d");
  d.description.channel_names = {"T1C"};
  const std::vector<std::vector<float>> foregrounds{{1, 2, 3, 4}, {10, 20}};
  for (size_t k = 0; k < 2; ++k) {
    Tensor image = Tensor::zeros({4, 4, 4}, DType::f32), label = Tensor::zeros({4, 4, 4}, DType::u8);
    for (int64_t z = 1; z < 3; ++z)
      for (int64_t y = 0; y < 4; ++y)
        for (int64_t x = 0; x < 4; ++x) image.data<float>()[(z * 4 + y) * 4 + x] = 7;
    for (size_t i = 0; i < foregrounds[k].size(); ++i) {
      image.data<float>()[20 + i] = foregrounds[k][i];
      label.data<uint8_t>()[20 + i] = 3;
    }
    const std::string id = std::to_string(k);
    d.training.push_back({id, {root / (id + "-t1c.nii.gz")}, root / (id + "-seg.nii.gz")});
    write_nifti(d.training.back().images[0], image, g);
    write_nifti(d.training.back().label, label, g);
  }
  const Fingerprint f = make_fingerprint(d, 1);
  std::filesystem::remove_all(root);
  EXPECT_EQ(f.spacings_mm, (std::vector<Double3>{{2, 1, 0.5}, {2, 1, 0.5}}));
  EXPECT_EQ(f.shapes_after_crop, (std::vector<Int3>{{2, 4, 4}, {2, 4, 4}}));
  EXPECT_EQ(f.median_relative_size_after_cropping, 0.5);
  ASSERT_EQ(f.intensities.size(), 1u);
  const IntensityProperties& p = f.intensities[0];
  EXPECT_NEAR(p.mean, (2.5 + 15) / 2, 1e-12);  // not the mean of the six
  EXPECT_NEAR(p.std, std::sqrt((30.0 / 4 + 500.0 / 2) / 2 - 8.75 * 8.75), 1e-12);
  EXPECT_EQ(p.min, 1);
  EXPECT_EQ(p.max, 20);
  EXPECT_EQ(p.median, 4);
  EXPECT_EQ(p.percentile_00_5, 1);
  EXPECT_EQ(p.percentile_99_5, 20);
  EXPECT_EQ(to_json(fingerprint_from_json(Json::parse(to_json(f).dump()), "f")), to_json(f));
}

// Every case that cannot be used is named, not the first alone.
TEST(fingerprint, names_all_faults) {
  RawDataset d;
  d.description = brats_description("d");
  for (const char* id : {"a", "b"}) d.training.push_back({id, {Path("nowhere") / id}, Path("nowhere") / id});
  std::vector<std::string> faulty;
  for (auto* out : {static_cast<std::vector<std::string>*>(nullptr), &faulty})  // of no good case nothing can be said
    expect_mentions(error_of([&] { make_fingerprint(d, 1, out); }), {"case a: ", "\ncase b: "});
}

}  // namespace
}  // namespace metvox
