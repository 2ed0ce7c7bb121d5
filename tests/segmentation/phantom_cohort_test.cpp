// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "io/csv.h"
#include "io/json.h"
#include "io/nifti.h"
#include "segmentation/data/dataset.h"
#include "segmentation/phantom/phantom.h"
#include "tests/support/fresh_folder.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

PhantomOptions tiny(int64_t cases) {
  PhantomOptions options;
  options.cases = cases;
  options.seed = 2;
  options.size = {40, 48, 40};
  return options;
}

TEST(phantom_cohort, nnunet_layout_holds_what_was_made) {
  const Path dir = fresh_folder("nnunet");
  std::vector<int64_t> seen;
  write_phantoms(dir, tiny(2), "nnunet", [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 2);
    seen.push_back(done);
  });
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2}));

  const Json dataset = read_json(dir / "dataset.json");
  EXPECT_EQ(dataset["channel_names"]["0"], "T1C");
  EXPECT_EQ(dataset["channel_names"]["3"], "T2W");
  EXPECT_EQ(dataset["numTraining"], 2);
  EXPECT_EQ(dataset["file_ending"], ".nii.gz");
  EXPECT_EQ(dataset["regions_class_order"], (Json{2, 1, 3}));
  EXPECT_EQ(dataset["labels"], brats_description("").json["labels"]);
  EXPECT_EQ(dataset["labels"]["TC"], (Json{1, 3}));

  const PhantomCase made = make_phantom(tiny(2), 1);
  for (size_t s = 0; s < 4; ++s) {
    const Volume image = read_nifti(dir / "imagesTr" / ("phantom_0002_000" + std::to_string(s) + ".nii.gz"));
    EXPECT_TRUE(same_grid(image.geometry, made.geometry));
    EXPECT_EQ(image.geometry.axes(), "LPS");
    for (int64_t v = 0; v < made.labels.size(); ++v)
      ASSERT_EQ(image.voxels.data<float>()[v], made.sequences[s].data<int16_t>()[v]);
  }
  const Volume labels = read_nifti_labels(dir / "labelsTr" / "phantom_0002.nii.gz");
  for (int64_t v = 0; v < made.labels.size(); ++v)
    ASSERT_EQ(labels.voxels.data<uint8_t>()[v], made.labels.data<uint8_t>()[v]);

  const CsvTable table = read_csv(dir / "lesions.csv");
  EXPECT_EQ(table.columns, (std::vector<std::string>{"case", "id", "x_mm", "y_mm", "z_mm", "radius_mm", "volume_mm3",
                                                     "netc_mm3", "snfh_mm3", "et_mm3"}));
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : table.rows)
    if (row[0] == "phantom_0002") rows.push_back(row);
  ASSERT_EQ(rows.size(), made.lesions.size());
  for (size_t n = 0; n < rows.size(); ++n) {
    EXPECT_EQ(std::stod(rows[n][2]), made.lesions[n].centre_mm[0]);
    EXPECT_EQ(std::stod(rows[n][6]), made.lesions[n].volume_mm3[0]);
    EXPECT_EQ(std::stod(rows[n][9]), made.lesions[n].volume_mm3[3]);
  }
  EXPECT_EQ(read_json(dir / "phantom.json")["seed"], 2);
}

// A finished case is kept, a damaged one made again as it was, and a cohort may grow.
TEST(phantom_cohort, second_run_adds_what_is_missing) {
  const Path dir = fresh_folder("again"), whole = fresh_folder("whole");
  write_phantoms(dir, tiny(2), "nnunet", {});
  write_phantoms(whole, tiny(3), "nnunet", {});
  write_text(dir / "imagesTr" / "phantom_0001_0000.nii.gz", "left as it is");
  fs::remove(dir / "labelsTr" / "phantom_0002.nii.gz");
  write_phantoms(dir, tiny(3), "nnunet", {});
  EXPECT_EQ(read_text(dir / "imagesTr" / "phantom_0001_0000.nii.gz"), "left as it is");
  for (const char* name : {"labelsTr/phantom_0002.nii.gz", "imagesTr/phantom_0002_0003.nii.gz",
                           "imagesTr/phantom_0003_0001.nii.gz", "dataset.json", "phantom.json"})
    EXPECT_EQ(read_bytes(dir / name), read_bytes(whole / name)) << name;
  const auto sorted_rows = [](const Path& p) {
    auto rows = read_csv(p).rows;
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  EXPECT_EQ(sorted_rows(dir / "lesions.csv"), sorted_rows(whole / "lesions.csv"));
}

TEST(phantom_cohort, brats_layout) {
  const Path dir = fresh_folder("brats");
  PhantomOptions options = tiny(1);
  options.domain = "private";
  write_phantoms(dir, options, "brats", {});
  const Path folder = dir / "BraTS-MET-90001-000";
  for (const char* what : {"t1c", "t1n", "t2f", "t2w"})
    EXPECT_EQ(read_nifti(folder / ("BraTS-MET-90001-000-" + std::string(what) + ".nii.gz")).geometry.axes(), "RAS");
  EXPECT_TRUE(fs::exists(folder / "BraTS-MET-90001-000-seg.nii.gz"));
  EXPECT_FALSE(fs::exists(dir / "dataset.json"));
  const CsvTable table = read_csv(dir / "lesions.csv");
  ASSERT_FALSE(table.rows.empty());
  EXPECT_EQ(table.rows[0][0], "BraTS-MET-90001-000");
}

TEST(phantom_cohort, refuses_to_mix) {
  const Path dir = fresh_folder("mix");
  write_phantoms(dir, tiny(1), "nnunet", {});
  PhantomOptions other = tiny(1);
  other.seed = 3;
  EXPECT_THROW(write_phantoms(dir, other, "nnunet", {}), Error);
  EXPECT_THROW(write_phantoms(dir, tiny(1), "brats", {}), Error);
  EXPECT_THROW(write_phantoms(dir, tiny(1), "mosaic", {}), Error);
  EXPECT_THROW(write_phantoms(dir, tiny(0), "nnunet", {}), Error);
}

}  // namespace
}  // namespace metvox
