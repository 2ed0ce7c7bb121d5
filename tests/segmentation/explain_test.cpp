// SPDX-License-Identifier: Apache-2.0
#include "segmentation/explain/explain.h"

#include <cmath>

#include "fake_model.h"
#include "io/nifti.h"
#include "segmentation/evaluation/metrics.h"

namespace metvox {

namespace {

constexpr Int3 kPatch{8, 8, 12};
const Target kFloat{{}, DType::f32, "reference"};

// u8 (z, y, x), 1 in the box.
Tensor box_mask(const Int3& size, const CropBox& box) {
  const Tensor mask = Tensor::zeros({size[0], size[1], size[2]}, DType::u8);
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y)
      for (int64_t x = box.first[2]; x < box.last[2]; ++x) mask.data<uint8_t>()[(z * size[1] + y) * size[2] + x] = 1;
  return mask;
}

double lesion_sum(const Tensor& logits, const LesionWindow& window, int64_t head) {
  double sum = 0;
  const int64_t voxels = window.mask.size();
  for (int64_t i = 0; i < voxels; ++i)
    if (window.mask.data<uint8_t>()[i]) sum += logits.data<float>()[head * voxels + i];
  return sum;
}

}  // namespace

TEST(explain, entropy_is_one_bit_at_a_half_and_none_where_sure) {
  EXPECT_EQ(entropy_bits(0), 0);
  EXPECT_EQ(entropy_bits(1), 0);
  EXPECT_DOUBLE_EQ(entropy_bits(.5), 1);
  EXPECT_NEAR(entropy_bits(.25), 2 - .75 * std::log2(3.), 1e-15);
}

TEST(explain, uncertainty_is_that_of_the_members) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  const Tensor data = random_data({4, 8, 8, 12}, 1);
  Predictor predictor(model, {"0", "1"}, "final", {.5, true, kFloat});
  ASSERT_EQ(predictor.members().size(), 16u);
  const Uncertainty u = uncertainty_of(predictor, data, model.dataset.labels, silent);
  const int64_t n = 3 * volume(kPatch);
  std::vector<std::vector<double>> fold(2, std::vector<double>(static_cast<size_t>(n)));
  for (const Predictor::Member& m : predictor.members()) {
    const Tensor logits = predictor.logits(data, m, silent);
    for (int64_t i = 0; i < n; ++i)
      fold[m.fold][static_cast<size_t>(i)] += 1 / (1 + std::exp(-logits.data<float>()[i])) / 8;
  }
  // Sums of 16 floats below 1; the deviation is the root of a difference of such.
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = fold[0][static_cast<size_t>(i)], b = fold[1][static_cast<size_t>(i)], mean = (a + b) / 2;
    EXPECT_NEAR(u.probability.data<float>()[i], mean, 2e-6);
    EXPECT_NEAR(u.entropy.data<float>()[i], entropy_bits(mean), 2e-5);
    EXPECT_NEAR(u.disagreement.data<float>()[i], std::abs(a - b) / 2, 1e-3);
    largest = std::max(largest, std::abs(a - b) / 2);
  }
  EXPECT_GT(largest, .05);
  const Tensor whole = predictor.logits(data, silent);
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(u.logits.data<float>()[i], whole.data<float>()[i], 2e-5);
}

TEST(explain, a_member_is_a_fold_of_its_own) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  const Tensor data = random_data({4, 8, 8, 12}, 2);
  Predictor both(model, {"0", "1"}, "final", {.5, false, kFloat});
  for (const size_t fold : {1, 0, 1}) {
    Predictor alone(model, {std::to_string(fold)}, "final", {.5, false, kFloat});
    const Tensor expected = alone.logits(data, silent), got = both.logits(data, Predictor::Member{fold, 0}, silent);
    EXPECT_EQ(std::memcmp(got.view().data, expected.view().data, got.bytes()), 0) << fold;
  }
}

TEST(explain, a_window_lies_around_the_lesion_and_goes_back_to_its_place) {
  const Int3 size{20, 8, 6};
  const Tensor data = random_data({2, size[0], size[1], size[2]}, 3);
  const LesionWindow w = window_around(box_mask(size, {{17, 3, 1}, {20, 5, 2}}), data, kPatch);
  EXPECT_EQ(w.first, (Int3{12, 0, -3}));  // flush with the end, whole, centred in what is larger than the case
  EXPECT_EQ(w.voxels, 6);
  EXPECT_EQ(w.box.first, (Int3{5, 3, 4}));
  EXPECT_EQ(w.box.last, (Int3{8, 5, 5}));
  EXPECT_EQ(w.data.data<float>()[0], 0);
  EXPECT_EQ(w.data.data<float>()[volume(kPatch) + 3], data.data<float>()[volume(size) + 12 * 48]);
  const Tensor map = Tensor::empty({8, 8, 12}, DType::f32);
  for (int64_t i = 0; i < map.size(); ++i) map.data<float>()[i] = static_cast<float>(i + 1);
  const Tensor back = placed(map, w, size);
  EXPECT_EQ(back.data<float>()[11 * 48], 0);
  EXPECT_EQ(back.data<float>()[12 * 48], 4);
}

TEST(explain, occlusion_loses_what_covering_costs) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  Predictor predictor(model, {"0", "1"}, "final", {.5, true, kFloat});
  const Tensor data = random_data({4, 8, 8, 12}, 4);
  const LesionWindow w = window_around(box_mask(kPatch, {{3, 3, 5}, {5, 5, 7}}), data, kPatch);
  // A box of 8 mm at 100 mm a voxel is one voxel; its neighbours are covered too.
  const Occlusion o = occlusion_of(predictor, w, model.dataset.labels, 1, {100, 100, 100}, silent);
  EXPECT_EQ(o.edge, (Int3{1, 1, 1}));
  const auto mean = [&](const Tensor& x) {
    double sum = 0;
    for (size_t fold : {0, 1}) sum += lesion_sum(predictor.logits(x, Predictor::Member{fold, 0}, silent), w, 1) / 8 / 2;
    return sum;
  };
  const double whole = mean(data);
  EXPECT_NEAR(o.log_odds, whole, 1e-5);
  Tensor covered = random_data({4, 8, 8, 12}, 4);
  const int64_t at = (4 * 8 + 3) * 12 + 6;
  for (int64_t c = 0; c < 4; ++c) covered.data<float>()[c * volume(kPatch) + at] = 0;
  EXPECT_NEAR(o.lost.data<float>()[at], whole - mean(covered), 1e-5);
  EXPECT_GT(std::abs(whole - mean(covered)), 1e-3);
  EXPECT_EQ(o.lost.data<float>()[0], 0);  // no box covers the corner
  covered = random_data({4, 8, 8, 12}, 4);
  std::fill_n(covered.data<float>() + 2 * volume(kPatch), volume(kPatch), 0.f);
  EXPECT_NEAR(o.lost_without.at(2), whole - mean(covered), 1e-5);
}

// A softmax gives a logit no meaning of its own.
TEST(explain, occlusion_of_a_label_is_of_its_odds_against_the_others) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1, fake_classes(3)));
  const Labels& labels = model.dataset.labels;
  Predictor predictor(model, {"0"}, "final", {.5, false, kFloat});
  const Tensor data = random_data({4, 8, 8, 12}, 6);
  const LesionWindow w = window_around(box_mask(kPatch, {{3, 3, 5}, {5, 5, 7}}), data, kPatch);
  const Occlusion o = occlusion_of(predictor, w, labels, 2, {100, 100, 100}, silent);
  const auto log_odds = [&](const Tensor& x) {
    const Tensor all = foreground_probabilities(predictor.logits(x, silent), labels);
    double sum = 0;
    for (int64_t i = 0; i < w.mask.size(); ++i) {
      const double p = all.data<float>()[2 * w.mask.size() + i];
      if (w.mask.data<uint8_t>()[i]) sum += std::log(p / (1 - p)) / 8;
    }
    return sum;
  };
  EXPECT_NEAR(o.log_odds, log_odds(data), 1e-5);
  EXPECT_GT(std::abs(o.log_odds - lesion_sum(predictor.logits(data, silent), w, 3) / 8), .1);
  std::fill_n(data.data<float>() + volume(kPatch), volume(kPatch), 0.f);
  EXPECT_NEAR(o.lost_without.at(1), o.log_odds - log_odds(data), 1e-5);
}

// The map is linear in the head's weights, and the other heads have no part in it.
void expect_grad_cam_follows_the_head(const std::string& network, const Int3& patch, const std::string& head_name,
                                      const Shape& features) {
  const Path dir = write_fake_model(fresh_dir(network), patch, 1, brats_description("x"), network);
  const ModelFolder model = open_model(dir);
  const Tensor data = random_data({4, patch[0], patch[1], patch[2]}, 5);
  const LesionWindow w = window_around(box_mask(patch, {{3, 3, 5}, {5, 5, 7}}), data, patch);
  EXPECT_EQ(GradCam(model, "0", "final", 0, kFloat).features(), features);
  const auto map_of = [&](int64_t head) { return GradCam(model, "0", "final", head, kFloat)(w); };
  const std::array<Tensor, 3> before{map_of(0), map_of(1), map_of(2)};
  const Path file = dir / "fold_0" / "checkpoint_final.safetensors";
  SafeTensors weights = read_safetensors(file);
  Tensor& head = weights.tensors.at(head_name);
  for (int64_t i = 0; i < head.size(); ++i) head.data<float>()[i] *= i < head.size() / 3 ? 2.f : 1.f;  // of head 0
  std::vector<NamedView> tensors;
  for (const auto& [name, tensor] : weights.tensors) tensors.push_back({name, tensor.view()});
  write_safetensors(file, tensors, {{"metvox", weights.metadata.at("metvox")}});
  double most = 0;
  for (int64_t h : {0, 1, 2}) {
    const Tensor after = map_of(h);
    ASSERT_EQ(after.shape(), (Shape{patch[0], patch[1], patch[2]}));
    for (int64_t i = 0; i < after.size(); ++i) {
      EXPECT_NEAR(after.data<float>()[i], before[static_cast<size_t>(h)].data<float>()[i] * (h == 0 ? 2.f : 1.f), 1e-5);
      EXPECT_GE(after.data<float>()[i], 0);
      most = std::max(most, static_cast<double>(after.data<float>()[i]));
    }
  }
  EXPECT_GT(most, 1e-3);
}

TEST(explain, grad_cam_follows_the_head) {
  expect_grad_cam_follows_the_head("nnunet", kPatch, "decoder.seg_layers.0.weight", {1, 6, 4, 4, 6});
}

// Its smallest grid is an eighth of the patch; last on it is the 1x1x1 convolution from 64 features to 32.
TEST(explain, grad_cam_of_segresnet_follows_the_head) {
  expect_grad_cam_follows_the_head("segresnet", {16, 16, 24}, "conv_final.2.conv.weight", {1, 32, 2, 2, 3});
}

}  // namespace metvox
