// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "io/json.h"
#include "segmentation/inference/previous_stage.h"
#include "segmentation/training/transforms.h"

namespace metvox {

namespace {

Patch patch_of(const std::string& digits, const Int3& shape) {
  Patch p(1, shape, 2);
  for (size_t i = 0; i < digits.size(); ++i) p.previous[i] = static_cast<int8_t>(digits[i] - '0');
  return p;
}

std::string digits_of(const Patch& p) {
  std::string digits;
  for (int8_t label : p.previous) digits += static_cast<char>('0' + label);
  return digits;
}

}  // namespace

TEST(cascade, masks_are_dilated_eroded_closed_and_opened_as_batchgenerators_does) {
  const Json golden = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/cascade.json");
  const std::map<std::string, Morphology::Operator> operators{{"dilate", Morphology::Operator::dilate},
                                                              {"erode", Morphology::Operator::erode},
                                                              {"close", Morphology::Operator::close},
                                                              {"open", Morphology::Operator::open}};
  for (const Json& run : golden.at("runs")) {
    Patch p = patch_of(golden.at("labels"), golden.at("shape").get<Int3>());
    Morphology m;
    for (const Json& s : run.at("steps"))
      m.steps.push_back({s[0].get<int8_t>(), operators.at(s[1].get<std::string>()), s[2].get<double>()});
    m.apply(p);
    EXPECT_EQ(digits_of(p), run.at("after")) << run.at("steps");
  }
}

TEST(cascade, one_small_component_is_lost) {
  const std::string digits =
      "1001111"
      "0000000"
      "0220001";  // of 21 voxels, 15 % are 3.15
  const auto after = [&](const LostComponents& lost) {
    Patch p = patch_of(digits, {1, 3, 7});
    lost.apply(p);
    return digits_of(p);
  };
  EXPECT_EQ(after({{{1, 0}}}),
            "0001111"
            "0000000"
            "0220001");
  EXPECT_EQ(after({{{1, .99}}}),
            "1001111"
            "0000000"
            "0220000");
  EXPECT_EQ(after({{{2, .5}, {1, 0}}}),
            "0001111"
            "0000000"
            "0000001");
  EXPECT_EQ(after({{{3, .5}}}), digits);
}

TEST(cascade, draws_each_label_half_of_the_time_within_its_limits) {
  int drawn = 0;
  double least = 9, most = 0;
  std::map<Morphology::Operator, int> operators;
  for (uint64_t stream = 0; stream < 1000; ++stream) {
    Random random(1, stream);
    for (const Morphology::Step& s : Morphology::draw(random, 3).steps) {
      ++drawn;
      ++operators[s.op];
      EXPECT_TRUE(s.label >= 1 && s.label <= 3);
      least = std::min(least, s.radius);
      most = std::max(most, s.radius);
    }
  }
  EXPECT_NEAR(drawn, 1500, 5 * std::sqrt(3000 * .25));
  EXPECT_EQ(operators.size(), 4u);
  EXPECT_TRUE(least >= 1 && least < 1.1 && most < 8 && most > 7.9);
}

// What moves the images moves the labels of the previous stage: fed with the same labels, both stay the same.
TEST(cascade, labels_of_the_previous_stage_move_with_the_others) {
  const Int3 extent{7, 8, 9};
  std::vector<float> data(static_cast<size_t>(volume(extent)));
  std::vector<int8_t> seg(data.size());
  for (size_t i = 0; i < seg.size(); ++i) seg[i] = static_cast<int8_t>(i * 7 % 11 % 4) - 1;
  for (uint64_t stream = 0; stream < 40; ++stream) {
    Patch p(1, {5, 6, 6}, 2);
    p.source = {data.data(), seg.data(), extent, {-1, 0, 1}, {8, 8, 9}, seg.data()};
    Random random(3, stream);
    Spatial::draw(random, patch_geometry({5, 6, 6}), stream % 2 == 0 ? Augmentation::bg1 : Augmentation::bg2).apply(p);
    Mirror::draw(random).apply(p);
    EXPECT_TRUE(std::equal(p.previous.begin(), p.previous.end(), p.seg.data<int8_t>()));
  }
}

TEST(cascade, the_network_sees_a_mask_a_label) {
  Patch p = patch_of("0120", {1, 2, 2});
  std::iota(p.channel(0), p.channel(0) + 4, 5.0f);
  const Tensor images = Tensor::empty({1, 3, 1, 2, 2}, DType::f32), labels = Tensor::empty({1, 1, 2, 2}, DType::u8);
  store(p, images, labels, 0);
  EXPECT_EQ((std::vector<float>(images.data<float>(), images.data<float>() + 12)),
            (std::vector<float>{5, 0, 0, 6, 1, 0, 7, 0, 1, 8, 0, 0}));

  const Tensor data = Tensor::empty({1, 1, 2, 2}, DType::f32), seg = Tensor::empty({1, 2, 2}, DType::i8);
  std::copy_n(p.channel(0), 4, data.data<float>());
  std::copy(p.previous.begin(), p.previous.end(), seg.data<int8_t>());
  const Tensor inputs = with_previous_labels(data, seg, 2);
  EXPECT_EQ(inputs.shape(), (Shape{3, 1, 2, 2}));
  EXPECT_EQ((std::vector<float>(inputs.data<float>(), inputs.data<float>() + 12)),
            (std::vector<float>{5, 6, 7, 8, 0, 1, 0, 0, 0, 0, 1, 0}));
}

}  // namespace metvox
