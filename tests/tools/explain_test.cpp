// SPDX-License-Identifier: Apache-2.0
// explain as a process, on a model that knows nothing.
#include <gtest/gtest.h>

#include "io/json.h"
#include "io/nifti.h"
#include "tensor/random.h"
#include "tests/segmentation/fake_model.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

const Geometry kGrid = make_geometry({14, 10, 9}, Affine{});
const Shape kShape{9, 10, 14};

void write_case(const Path& images, const Path& truths, const std::string& id) {
  Random random(1, 1);
  for (int c = 0; c < 4; ++c) {
    const Tensor v = Tensor::empty(kShape, DType::f32);
    for (int64_t i = 0; i < v.size(); ++i) v.data<float>()[i] = static_cast<float>(100 + 10 * random.normal());
    write_nifti(images / (id + "_000" + std::to_string(c) + ".nii.gz"), v, kGrid);
  }
  const Tensor truth = Tensor::zeros(kShape, DType::u8);
  truth.data<uint8_t>()[4 * 140 + 5 * 14 + 7] = 3;
  write_nifti(truths / (id + ".nii.gz"), truth, kGrid, {kIntentLabel});
}

std::vector<std::string> and_more(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST(explain, writes_maps_on_the_images_grid_and_a_page) {
  const Path images = fresh_folder("images"), truths = fresh_folder("truths"), out = fresh_folder("out");
  const Path model = write_fake_model(fresh_folder("results"), {8, 8, 12}, 2);
  write_case(images, truths, "one");
  const std::vector<std::string> call{"explain", "-i", images, "-m", model, "--truth", truths, "-o", out, "--json"};
  const Outcome all =
      metvox_run(and_more(call, {"--what", "entropy", "disagreement", "errors", "gradcam", "occlusion"}));
  ASSERT_EQ(all.code, 0) << all.err;
  const Json numbers = Json::parse(all.out)["cases"][0];
  EXPECT_EQ(numbers["regions"]["TC"]["TP"].get<int>() + numbers["regions"]["TC"]["FN"].get<int>(), 1);
  EXPECT_EQ(numbers["lesion"]["region"], "TC");
  EXPECT_EQ(numbers["lesion"]["occlusion"]["lost_without"].size(), 4u);
  for (const std::string map : {"entropy_WT", "disagreement_ET", "errors_TC", "gradcam_TC", "occlusion_TC"}) {
    const Volume v = read_nifti(out / "one" / (map + ".nii.gz"));
    EXPECT_TRUE(same_grid(v.geometry, kGrid)) << map;
  }
  const Volume entropy = read_nifti(out / "one" / "entropy_TC.nii.gz");
  for (int64_t i = 0; i < entropy.voxels.size(); ++i) {
    ASSERT_GE(entropy.voxels.data<float>()[i], 0);
    ASSERT_LE(entropy.voxels.data<float>()[i], 1);
  }
  EXPECT_TRUE(fs::exists(out / "one" / "overview.png"));
  EXPECT_TRUE(says(read_text(out / "index.html"), "own extension"));
  // What is explained is what predict answers.
  const Path predictions = fresh_folder("predictions");
  ASSERT_EQ(metvox_run({"predict", "-i", images, "-m", model, "-o", predictions}).code, 0);
  const Tensor expected = read_nifti_labels(predictions / "one.nii.gz").voxels,
               got = read_nifti_labels(out / "one" / "segmentation.nii.gz").voxels;
  int64_t other = 0;  // means are summed in another order, so a logit next to zero may differ
  for (int64_t i = 0; i < got.size(); ++i) other += got.data<uint8_t>()[i] != expected.data<uint8_t>()[i];
  EXPECT_LE(other, 1);

  write_case(images, fresh_folder("elsewhere"), "two");
  const Outcome some = metvox_run(and_more(call, {"--disable-tta", "--what", "errors"}));
  EXPECT_EQ(some.code, 5);
  EXPECT_TRUE(says(some.err, "case two: no truth in"));

  const Path list = out / "cases.csv", few = fresh_folder("few");
  write_text(list, "sample,marks\ntwo,5\nthree,2\none,1\n");
  const std::vector<std::string> of_list{"explain",       "-i",     images,    "-m",      model, "-o", few,
                                         "--disable-tta", "--what", "entropy", "--cases", list};
  EXPECT_EQ(metvox_run(and_more(of_list, {"--at-most", "1"})).code, 0);
  EXPECT_TRUE(fs::exists(few / "two"));
  EXPECT_FALSE(fs::exists(few / "one"));
  const Outcome absent = metvox_run(of_list);
  EXPECT_EQ(absent.code, 5);
  EXPECT_TRUE(says(absent.err, "case three: " + list.string() + " names it")) << absent.err;
  EXPECT_TRUE(fs::exists(few / "one"));
}

TEST(explain, says_what_a_full_disk_leaves_undone) {
  const Path images = fresh_folder("images"), truths = fresh_folder("truths"), out = fresh_folder("out");
  const Path model = write_fake_model(fresh_folder("results"), {8, 8, 12}, 1);
  for (const char* id : {"one", "two", "three"}) write_case(images, truths, id);
  Subprocess full{{"explain", "-i", images, "-m", model, "-o", out, "--disable-tta"}, 1000};  // stderr fits, maps do not
  full.start();
  const Outcome o = full.wait();
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, "cannot write"));
  EXPECT_TRUE(says(o.err, "2 more cases were not begun; make room in " + out.string()));
}

TEST(explain, options_that_cannot_be_are_usage) {
  const Path images = fresh_folder("images"), truths = fresh_folder("truths"), out = fresh_folder("out");
  const Path model = write_fake_model(fresh_folder("results"), {8, 8, 12}, 1);
  for (const char* id : {"one", "two"}) write_case(images, truths, id);
  const std::vector<std::string> call{"explain", "-i", images, "-m", model, "-o", out};
  const auto refused = [&](const std::vector<std::string>& more, const std::string& sentence) {
    const Outcome o = metvox_run(and_more(call, more));
    EXPECT_EQ(o.code, 2) << sentence;
    EXPECT_TRUE(says(o.err, sentence));
  };
  refused({"--what", "saliency"}, "there is no map \"saliency\"");
  refused({"--what", "errors"}, "--what errors needs --truth");
  refused({"--what", "disagreement"}, "two folds or more");
  refused({"--region", "XX"}, "it has WT, TC, ET");
  for (const char* point : {"nan,0,0", "0,inf,0", "1e999,0,0"}) refused({"--at", point}, "--at");
  refused({"--at", "1,2,3"}, "--at is a point in one case");
  refused({"--at-most", "1"}, "--at-most goes with --cases");
  EXPECT_EQ(count_files(out, ".nii.gz"), 0);
}

}  // namespace metvox
