// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/resample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "io/json.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

Tensor line(const std::vector<float>& values) {
  Tensor t = Tensor::empty({1, 1, static_cast<int64_t>(values.size())}, DType::f32);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

void expect_line(const Tensor& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got.data<float>()[i], want[i], 25 * 1e-6) << i;
}

const std::vector<float> kSquares{0, 1, 4, 9, 16, 25};

// Numbers of scikit-image's resize (mode edge, no anti-aliasing, no clipping), which nnU-Net calls.
TEST(resample, cubic_enlarges) {
  const std::vector<double> want{-.036093, .300074,   1.346168,  3.344515, 6.313467,
                                 9.950350, 14.521338, 21.088457, 25.574466};
  expect_line(resize(line(kSquares), {1, 1, 9}, 3, false), want);
}

TEST(resample, cubic_is_limited_to_the_range) {
  const std::vector<double> want{0, .300074, 1.346168, 3.344515, 6.313467, 9.950350, 14.521338, 21.088457, 25};
  expect_line(resize(line(kSquares), {1, 1, 9}, 3), want);
}

TEST(resample, cubic_shrinks) {
  expect_line(resize(line(kSquares), {1, 1, 4}, 3), {.109026, 3.040374, 10.441826, 23.372772});
}

TEST(resample, linear_enlarges) {
  expect_line(resize(line(kSquares), {1, 1, 9}, 1), {0, .5, 1.5, 3.5, 6.5, 10.166667, 14.833333, 20.5, 25});
}

TEST(resample, every_axis_is_alike) {
  const Tensor along_x = resize(line(kSquares), {1, 1, 9}, 3);
  for (int axis : {0, 1}) {
    const Tensor turned = line(kSquares).reshape(axis == 0 ? Shape{6, 1, 1} : Shape{1, 6, 1});
    const Tensor got = resize(turned, axis == 0 ? Int3{9, 1, 1} : Int3{1, 9, 1}, 3);
    for (int64_t i = 0; i < 9; ++i) EXPECT_NEAR(got.data<float>()[i], along_x.data<float>()[i], 1e-5) << axis;
  }
}

// More lines than lie side by side at once, and a plane that is no multiple of that number.
TEST(resample, a_constant_stays_constant) {
  Tensor t = Tensor::empty({3, 131, 70}, DType::f32);
  std::fill_n(t.data<float>(), t.size(), 3.5f);
  const Tensor got = resize(t, {5, 97, 101}, 3, false);
  for (int64_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got.data<float>()[i], 3.5f, 3.5e-5f) << i;
}

TEST(resample, threads_do_not_change_a_bit) {
  Tensor t = Tensor::empty({9, 80, 75}, DType::f32);
  for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = static_cast<float>(std::sin(static_cast<double>(i)));
  const int before = threads();
  set_threads(1);
  const Tensor one = resize(t, {13, 90, 66}, 3);
  set_threads(3);
  const Tensor three = resize(t, {13, 90, 66}, 3);
  set_threads(before);
  EXPECT_EQ(0, std::memcmp(one.data<float>(), three.data<float>(), one.bytes()));
}

TEST(resample, separate_z_rule) {
  EXPECT_FALSE(separate_z({1, 1, 1}, {3, 1, 1}).separate);  // 3 is not above 3
  EXPECT_TRUE(separate_z({3.1, 1, 1}, {1, 1, 1}).separate);
  EXPECT_EQ(separate_z({1, 1, 3.1}, {9, 1, 1}).axis, 2);  // the current spacing goes first
  EXPECT_EQ(separate_z({1, 1, 1}, {1, 4, 1}).axis, 1);
  EXPECT_FALSE(separate_z({4, 4, 1}, {9, 1, 1}).separate);  // a tie ends the search
}

TEST(resample, shape_rounds_half_to_even) {
  EXPECT_EQ(resampled_shape({5, 7, 10}, {1, 1, 1}, {2, 2, 3}), (Int3{2, 4, 3}));
}

// Golden volumes of nnU-Net, tests/golden/make_resample.py. Order 3 may differ by 1e-5 of the largest value.
TEST(resample, agrees_with_nnunet) {
  const Json cases = Json::parse(std::ifstream(METVOX_SOURCE_DIR "/tests/golden/resample.json"));
  ASSERT_EQ(cases.size(), 10u);
  for (const Json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto shape = c["shape"].get<Int3>(), target = c["target"].get<Int3>();
    const auto current = c["current"].get<Double3>(), spacing = c["new"].get<Double3>();
    Tensor data = Tensor::empty({1, shape[0], shape[1], shape[2]}, DType::f32);
    Tensor labels = Tensor::empty({shape[0], shape[1], shape[2]}, DType::i8);
    double most = 0;
    for (size_t i = 0; i < c["data"].size(); ++i) {
      data.data<float>()[i] = c["data"][i].get<float>();
      most = std::max(most, std::abs(c["data"][i].get<double>()));
      labels.data<int8_t>()[i] = c["labels"][i].get<int8_t>();
    }
    for (int order : {1, 3}) {
      const Tensor got = resample_data(data, target, current, spacing, order);
      const SeparateZ rule = separate_z(current, spacing);
      const Tensor on_gpu = rule.separate && rule.axis != 0
                                ? got
                                : resample_data(data.to({Device::Kind::sim}), target, current, spacing, order).to({});
      const Json& want = c["order" + std::to_string(order)];
      ASSERT_EQ(static_cast<size_t>(got.size()), want.size());
      for (size_t i = 0; i < want.size(); ++i)
        for (const Tensor& t : {got, on_gpu})
          ASSERT_NEAR(t.data<float>()[i], want[i].get<double>(), 1e-5 * most) << "order " << order << " voxel " << i;
    }
    const Tensor got = resample_labels(labels, target, current, spacing);
    for (size_t i = 0; i < static_cast<size_t>(got.size()); ++i)
      ASSERT_EQ(got.data<int8_t>()[i], c["resampled_labels"][i].get<int>()) << "label voxel " << i;
  }
}

// Rounding of one axis, for voxels up to M: 18 2^-24 M in the coefficients times six, 12 in their sum; linear sums
// have 3. A cubic axis hands on up to 1.55 times what it gets, voxels and errors, so three of them err by 7.2 times
// one. Both the CPU and the GPU do.
TEST(resample, a_gpu_agrees_with_the_cpu) {
  const Tensor data = Tensor::empty({2, 7, 12, 9}, DType::f32);
  Random random(4, 0);
  float most = 0;
  for (int64_t i = 0; i < data.size(); ++i) {
    data.data<float>()[i] = static_cast<float>(random.normal() + 1);
    most = std::max(most, std::abs(data.data<float>()[i]));
  }
  const Tensor there = data.to({Device::Kind::sim});
  const Double3 even{1, 1, 1}, thick{4, 1, 1};
  int compared = 0;
  for (const Int3& shape : {Int3{9, 8, 13}, Int3{7, 12, 20}, Int3{5, 17, 9}, Int3{11, 12, 9}, Int3{7, 12, 9}})
    for (const Double3& spacing_mm : {even, thick})
      for (const int order : {1, 3}) {
        const Tensor expected = resample_data(data, shape, spacing_mm, spacing_mm, order),
                     got = resample_data(there, shape, spacing_mm, spacing_mm, order);
        EXPECT_EQ(got.device(), there.device());
        const Tensor near = got.to({});
        ASSERT_EQ(near.shape(), expected.shape());
        const double allowed = 2 * (order == 3 ? 7.2 * 30 : 9) * 0x1p-24 * static_cast<double>(most);
        double worst = 0;
        for (int64_t i = 0; i < near.size(); ++i)
          worst = std::max(worst, std::abs(static_cast<double>(near.data<float>()[i] - expected.data<float>()[i])));
        EXPECT_LE(worst, allowed) << "order " << order << " to " << shape[0] << 'x' << shape[1] << 'x' << shape[2];
        ++compared;
      }
  EXPECT_EQ(compared, 20);
}

TEST(resample, a_gpu_refuses_slices_that_are_not_along_z) {
  const Tensor there = Tensor::zeros({1, 3, 4, 5}, DType::f32, {Device::Kind::sim});
  EXPECT_THROW(resample_data(there, {3, 4, 9}, {1, 4, 1}, {1, 4, 1}, 3), Error);
}

TEST(resample, more_than_2_to_the_31_voxels_are_refused) {
  EXPECT_EQ(resampled_shape({32, 8192, 8192}, {1, 1, 1}, {1, 1, 1}), (Int3{32, 8192, 8192}));  // exactly as many
  for (const Double3& spacing_mm : {Double3{2, 1, 1}, Double3{1e300, 1, 1}, Double3{1e10, 1e-10, 1}}) try {
      resampled_shape({32, 8192, 8192}, spacing_mm, {1, 1, 1});
      ADD_FAILURE() << spacing_mm[0];
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      EXPECT_NE(std::string(e.what()).find("more than 2^31; check the spacing"), std::string::npos) << e.what();
    }
}

}  // namespace
}  // namespace metvox
