// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/viewer_files.h"

#include "fake_model.h"
#include "io/nifti.h"
#include "lesion_cases.h"

namespace metvox {

namespace {

Labels brats_labels() { return brats_description("test").labels; }

// Two cores in one oedema.
Tensor two_cores() {
  return paint_boxes({6, 7, 8}, {{{0, 0, 0}, {6, 7, 8}, 2}, {{1, 1, 1}, {3, 3, 3}, 3}, {{4, 4, 5}, {5, 6, 7}, 1}});
}

}  // namespace

TEST(viewer_files, values_have_names_and_colours) {
  const auto labels = viewer_labels(brats_labels());
  ASSERT_EQ(labels.size(), 3u);
  EXPECT_EQ(labels[0].name + " " + labels[1].name + " " + labels[2].name, "NETC SNFH ET");
  EXPECT_NE(label_description(labels).find("\"SNFH\""), std::string::npos);
  const Labels own = Labels::from_json(
      Json::parse(R"({"labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1, 2]})"), "test");
  EXPECT_EQ(viewer_labels(own)[1].name, "all+core");
}

TEST(viewer_files, hold_labels_regions_and_instances) {
  const Path out = fresh_dir("out");
  const Tensor voxels = two_cores();
  const Geometry grid = make_geometry({8, 7, 6}, Affine{{{{-2, 0, 0, 5}, {0, 1, 0, -3}, {0, 0, 3, 1}, {0, 0, 0, 1}}}});
  const ViewerFiles files = write_viewer_files("a", voxels, grid, brats_labels(), out);
  EXPECT_EQ(files.lesions, 2);
  const Volume back = read_nifti_labels(files.segmentation);
  EXPECT_TRUE(same_grid(back.geometry, grid));
  EXPECT_TRUE(std::equal(voxels.data<uint8_t>(), voxels.data<uint8_t>() + voxels.size(), back.voxels.data<uint8_t>()));
  const Bytes file = gunzip(read_bytes(files.segmentation), 1 << 20, files.segmentation);
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  EXPECT_EQ(text[348], 1);  // an extension follows
  EXPECT_NE(text.find("\"NETC\""), std::string::npos);

  const Tensor instances = read_nifti_labels(files.instances).voxels;
  EXPECT_EQ(instances.data<uint8_t>()[(1 * 7 + 1) * 8 + 1], 1);
  EXPECT_EQ(instances.data<uint8_t>()[(4 * 7 + 4) * 8 + 5], 2);
  EXPECT_EQ(instances.data<uint8_t>()[0], 0);

  const Bytes bytes = read_bytes(files.regions);
  const std::string nrrd(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(nrrd.substr(0, 9), "NRRD0004\n");
  for (const char* line : {"sizes: 3 8 7 6\n", "space directions: none (2,0,0) (0,-1,0) (0,0,3)\n",
                           "space origin: (-5,3,1)\n", "Segment1_Name:=TC\n", "Segment2_Layer:=2\n"})
    EXPECT_NE(nrrd.find(line), std::string::npos) << line;
  const size_t end = nrrd.find("\n\n") + 2;
  const Bytes layers = gunzip(std::span(bytes).subspan(end), 1 << 20, files.regions);
  ASSERT_EQ(layers.size(), static_cast<size_t>(3 * voxels.size()));
  const auto layer = [&](int64_t voxel, size_t l) {
    return static_cast<int>(layers[static_cast<size_t>(voxel) * 3 + l]);
  };
  const int64_t ring = (1 * 7 + 1) * 8 + 1, core = (4 * 7 + 4) * 8 + 5;
  EXPECT_EQ(layer(ring, 0) + layer(ring, 1) + layer(ring, 2), 3);
  EXPECT_EQ(layer(core, 1) * 10 + layer(core, 2), 10);
  EXPECT_EQ(layer(0, 0) * 10 + layer(0, 1), 10);
}

TEST(viewer_files, colour_tables_agree) {
  const Path out = fresh_dir("out");
  write_colour_tables(viewer_labels(brats_labels()), out);
  const Json niivue = read_json(out / "labels-niivue.json");
  EXPECT_EQ(niivue["labels"], Json({"background", "NETC", "SNFH", "ET"}));
  EXPECT_EQ(niivue["I"], Json({0, 1, 2, 3}));
  EXPECT_NE(
      read_text(out / "labels.ctbl").find(sentence("3 ET ", niivue["R"][3].get<int>(), " ", niivue["G"][3].get<int>())),
      std::string::npos);
}

}  // namespace metvox
