// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <utility>

#include "segmentation/data/permute.h"
#include "segmentation/data/resample.h"
#include "segmentation/data/restore.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

Geometry geometry_of(const Int3& shape_zyx, const Double3& spacing_zyx_mm) {
  Affine a;
  for (size_t i = 0; i < 3; ++i) a.m[i][i] = spacing_zyx_mm[2 - i];
  return make_geometry({shape_zyx[2], shape_zyx[1], shape_zyx[0]}, a);
}

template <class T>
Tensor tensor(const Json& values, const Shape& shape) {
  Tensor t = Tensor::empty(shape, dtype_of<T>());
  EXPECT_EQ(static_cast<size_t>(t.size()), values.size());
  for (size_t i = 0; i < values.size(); ++i) t.data<T>()[i] = values[i].get<T>();
  return t;
}

// Cases of nnU-Net's own preprocessor and export, tests/golden/make_preprocess.py.
struct Golden {
  explicit Golden(const Json& json_) : json(json_), shape(json["shape"].get<Int3>()) {
    plans = plans_from_json(json["plans"], "plans.json");
    configuration = plans.configuration("c", "plans.json");
    labels = Labels::from_json(json["dataset"], "dataset.json");
    const auto channels = static_cast<int64_t>(configuration.normalization_schemes.size());
    images.data = tensor<float>(json["data"], {channels, shape[0], shape[1], shape[2]});
    images.geometry = geometry_of(shape, json["spacing"].get<Double3>());
    truth = tensor<uint8_t>(json["labels"], {shape[0], shape[1], shape[2]});
  }
  PreprocessedCase run() const { return preprocess_case("x", images, truth, plans, configuration, labels, 1); }

  Json json;
  Int3 shape;
  Plans plans;
  Configuration configuration;
  Labels labels;
  CaseImages images;
  Tensor truth;
};

std::vector<Golden> goldens() {
  std::vector<Golden> out;
  for (const Json& run : Json::parse(std::ifstream(METVOX_SOURCE_DIR "/tests/golden/preprocess.json")))
    out.emplace_back(run);
  EXPECT_EQ(out.size(), 7u);
  return out;
}

TEST(preprocess, agrees_with_nnunet) {
  for (const Golden& g : goldens()) {
    SCOPED_TRACE(g.json["name"].get<std::string>());
    const PreprocessedCase c = g.run();
    for (size_t a = 0; a < 3; ++a) {
      EXPECT_EQ(c.properties.bbox_first[a], g.json["bbox"][a][0].get<int64_t>());
      EXPECT_EQ(c.properties.bbox_last[a], g.json["bbox"][a][1].get<int64_t>());
      ASSERT_EQ(c.seg.shape()[static_cast<int>(a)], g.json["preprocessed_shape"][a].get<int64_t>());
    }
    double most = 0;
    for (const Json& v : g.json["preprocessed"]) most = std::max(most, std::abs(v.get<double>()));
    // Five decimals in the file, and the float arithmetic of the resampling.
    for (size_t i = 0; i < g.json["preprocessed"].size(); ++i)
      ASSERT_NEAR(c.data.data<float>()[i], g.json["preprocessed"][i].get<double>(), 5e-6 + 1e-5 * most) << i;
    for (size_t i = 0; i < g.json["preprocessed_seg"].size(); ++i)
      ASSERT_EQ(c.seg.data<int8_t>()[i], g.json["preprocessed_seg"][i].get<int>()) << i;
    ASSERT_EQ(c.locations.size(), g.json["counts"].size());
    for (size_t k = 0; k < c.locations.size(); ++k)
      EXPECT_EQ(c.locations[k].shape()[0], g.json["counts"][k].get<int64_t>());
  }
}

TEST(preprocess, restores_as_nnunet_does) {
  for (const Golden& g : goldens()) {
    SCOPED_TRACE(g.json["name"].get<std::string>());
    const auto n = g.json["preprocessed_shape"].get<Int3>();
    const Tensor logits = tensor<float>(g.json["logits"], {3, n[0], n[1], n[2]});
    Tensor probabilities;
    const Tensor got = restore_labels(logits, g.run().properties, g.plans, g.configuration, g.labels, &probabilities);
    ASSERT_EQ(got.shape(), (Shape{g.shape[0], g.shape[1], g.shape[2]}));
    for (size_t i = 0; i < g.json["restored"].size(); ++i)
      ASSERT_EQ(got.data<uint8_t>()[i], g.json["restored"][i].get<int>()) << i;
    for (size_t i = 0; i < g.json["probabilities"].size(); ++i)
      ASSERT_NEAR(probabilities.data<float>()[i], g.json["probabilities"][i].get<double>(), 1e-5) << i;
  }
}

// The slab-wise way equals resampling all logits to native size first.
TEST(preprocess, slabs_equal_the_whole) {
  Golden g = goldens()[0];
  const PreprocessedCase c = g.run();
  const Shape& n = c.data.shape();
  Tensor logits = Tensor::empty({3, n[1], n[2], n[3]}, DType::f32);
  Random random(3, 4);
  for (int64_t i = 0; i < logits.size(); ++i) logits.data<float>()[i] = static_cast<float>(random.normal());
  const CaseProperties& p = c.properties;
  const Tensor whole =
      resample_data(logits, p.shape_after_cropping, target_spacing_mm(p, g.configuration), p.spacing_mm, 1);
  Tensor want = Tensor::zeros({g.shape[0], g.shape[1], g.shape[2]}, DType::u8);
  std::vector<bool> unsure(static_cast<size_t>(want.size()));
  const auto& forward = g.plans.transpose_forward;
  const Int3& s = p.shape_after_cropping;
  for (int64_t i = 0; i < volume(s); ++i) {
    const Int3 at{i / (s[1] * s[2]) + p.bbox_first[0], i / s[2] % s[1] + p.bbox_first[1], i % s[2] + p.bbox_first[2]};
    Int3 file;
    for (size_t a = 0; a < 3; ++a) file[static_cast<size_t>(forward[a])] = at[a];
    const int64_t o = (file[0] * g.shape[1] + file[1]) * g.shape[2] + file[2];
    for (int64_t r = 0; r < 3; ++r) {
      const float v = whole.data<float>()[r * volume(s) + i];
      if (std::abs(v) < 1e-5f) unsure[static_cast<size_t>(o)] = true;
      if (v > 0) want.data<uint8_t>()[o] = static_cast<uint8_t>(g.labels.regions_class_order[static_cast<size_t>(r)]);
    }
  }
  const Tensor got = restore_labels(logits, p, g.plans, g.configuration, g.labels);
  for (int64_t i = 0; i < got.size(); ++i) {
    if (unsure[static_cast<size_t>(i)]) continue;
    ASSERT_EQ(got.data<uint8_t>()[i], want.data<uint8_t>()[i]) << i;
  }
}

TEST(preprocess, labels_come_back_where_nothing_is_resampled) {
  Golden g = goldens()[0];
  const Double3 own = permute(g.json["spacing"].get<Double3>(), g.plans.transpose_forward);
  g.configuration.spacing_mm.assign(own.begin(), own.end());
  const PreprocessedCase c = g.run();
  Tensor logits = Tensor::empty({3, c.seg.shape()[0], c.seg.shape()[1], c.seg.shape()[2]}, DType::f32);
  const auto heads = g.labels.heads();
  for (size_t r = 0; r < 3; ++r)
    for (int64_t i = 0; i < c.seg.size(); ++i) {
      const auto& in = heads[r].labels;
      const bool inside = std::find(in.begin(), in.end(), static_cast<int>(c.seg.data<int8_t>()[i])) != in.end();
      logits.data<float>()[static_cast<int64_t>(r) * c.seg.size() + i] = inside ? 1.0f : -1.0f;
    }
  const Tensor got = restore_labels(logits, c.properties, g.plans, g.configuration, g.labels);
  EXPECT_EQ(0, std::memcmp(got.data<uint8_t>(), g.truth.data<uint8_t>(), got.bytes()));
}

TEST(preprocess, holes_are_filled_and_bays_are_not) {
  Tensor data = Tensor::zeros({2, 5, 5, 6}, DType::f32);
  const auto at = [&](int64_t c, int64_t z, int64_t y, int64_t x) -> float& {
    return data.data<float>()[((c * 5 + z) * 5 + y) * 6 + x];
  };
  for (int64_t z = 1; z < 4; ++z)
    for (int64_t y = 1; y < 4; ++y)
      for (int64_t x = 1; x < 4; ++x) at(x % 2, z, y, x) = -2;  // a cube, shared by the channels
  at(0, 2, 2, 2) = at(1, 2, 2, 2) = 0;                          // a hole
  Tensor mask = nonzero_mask(data);
  int64_t voxels = 0;
  for (int64_t i = 0; i < mask.size(); ++i) voxels += mask.data<uint8_t>()[i];
  EXPECT_EQ(voxels, 27);
  const CropBox box = bounding_box(mask);
  EXPECT_EQ(box.first, (Int3{1, 1, 1}));
  EXPECT_EQ(box.last, (Int3{4, 4, 4}));
  at(1, 2, 2, 3) = 0;  // the hole opens
  at(0, 2, 2, 3) = 0;
  mask = nonzero_mask(data);
  EXPECT_EQ(mask.data<uint8_t>()[(2 * 5 + 2) * 6 + 2], 0);
}

// Fine random texture has background sets of every shape; a plain flood is the oracle.
TEST(preprocess, holes_agree_with_a_flood) {
  constexpr int64_t kEdge = 20;
  Tensor data = Tensor::empty({1, kEdge, kEdge, kEdge}, DType::f32);
  Random random(5, 6);
  for (int64_t i = 0; i < data.size(); ++i) data.data<float>()[i] = random.uniform() < 0.69 ? 1.0f : 0.0f;
  std::vector<bool> outside(static_cast<size_t>(data.size()));
  std::vector<Int3> stack;
  const auto visit = [&](const Int3& p) {
    for (int64_t e : p)
      if (e < 0 || e >= kEdge) return;
    const int64_t i = (p[0] * kEdge + p[1]) * kEdge + p[2];
    if (data.data<float>()[i] != 0 || outside[static_cast<size_t>(i)]) return;
    outside[static_cast<size_t>(i)] = true;
    stack.push_back(p);
  };
  for (int64_t a = 0; a < kEdge; ++a)
    for (int64_t b = 0; b < kEdge; ++b)
      for (int64_t side : {int64_t{0}, kEdge - 1}) {
        visit({side, a, b});
        visit({a, side, b});
        visit({a, b, side});
      }
  while (!stack.empty()) {
    const Int3 p = stack.back();
    stack.pop_back();
    for (size_t axis = 0; axis < 3; ++axis)
      for (int64_t step : {-1, 1}) {
        Int3 q = p;
        q[axis] += step;
        visit(q);
      }
  }
  const Tensor mask = nonzero_mask(data);
  int64_t filled = 0;
  for (int64_t i = 0; i < mask.size(); ++i) {
    ASSERT_EQ(mask.data<uint8_t>()[i] == 0, outside[static_cast<size_t>(i)]) << i;
    filled += mask.data<uint8_t>()[i] && data.data<float>()[i] == 0;
  }
  EXPECT_GT(filled, 100);
}

TEST(preprocess, locations_are_drawn_from_their_target) {
  constexpr int64_t kEdge = 40;
  Golden g = goldens()[0];
  g.images.data = Tensor::empty({2, kEdge, kEdge, kEdge}, DType::f32);
  for (int64_t i = 0; i < g.images.data.size(); ++i) g.images.data.data<float>()[i] = static_cast<float>(1 + i % 7);
  g.images.geometry = geometry_of({kEdge, kEdge, kEdge}, {1, 1, 1});
  g.truth = Tensor::zeros({kEdge, kEdge, kEdge}, DType::u8);
  std::fill_n(g.truth.data<uint8_t>(), 30000, uint8_t{2});  // WT only
  g.configuration.spacing_mm = {1, 1, 1};
  const PreprocessedCase a = g.run(), b = g.run();
  ASSERT_EQ(a.locations[0].shape(), (Shape{10000, 3}));
  EXPECT_EQ(a.locations[1].shape(), (Shape{0, 3}));
  EXPECT_EQ(0, std::memcmp(a.locations[0].data<int32_t>(), b.locations[0].data<int32_t>(), a.locations[0].bytes()));
  std::set<std::array<int32_t, 3>> seen;
  for (int64_t i = 0; i < 10000; ++i) {
    const int32_t* v = a.locations[0].data<int32_t>() + 3 * i;
    ASSERT_EQ(a.seg.data<int8_t>()[(v[0] * kEdge + v[1]) * kEdge + v[2]], 2);
    seen.insert({v[0], v[1], v[2]});
  }
  EXPECT_EQ(seen.size(), 10000u);  // none twice
}

TEST(preprocess, threads_do_not_change_a_bit) {
  const Golden g = goldens()[0];
  const int before = threads();
  set_threads(1);
  const PreprocessedCase one = g.run();
  set_threads(3);
  const PreprocessedCase three = g.run();
  set_threads(before);
  EXPECT_EQ(0, std::memcmp(one.data.data<float>(), three.data.data<float>(), one.data.bytes()));
  EXPECT_EQ(0, std::memcmp(one.seg.data<int8_t>(), three.seg.data<int8_t>(), one.seg.bytes()));
}

// Margins on every side, so that all rows of all channels move.
TEST(preprocess, data_in_the_memory_of_the_sequences_are_the_same) {
  const Golden g = goldens()[0];
  const Int3 n{9, 11, 13};
  CaseImages images;
  images.data = Tensor::zeros({2, n[0], n[1], n[2]}, DType::f32);
  images.geometry = geometry_of(n, {1, 1, 1});
  Random random(9, 1);
  for (int64_t c = 0; c < 2; ++c)
    for (int64_t z = 2; z < 8; ++z)
      for (int64_t y = 1; y < 9; ++y)
        for (int64_t x = 3; x < 12; ++x)
          images.data.data<float>()[((c * n[0] + z) * n[1] + y) * n[2] + x] = static_cast<float>(random.normal());
  Plans plans = g.plans;
  plans.intensities = {};
  Configuration configuration = g.configuration;
  configuration.normalization_schemes = {"ZScoreNormalization", "ZScoreNormalization"};
  for (const bool mask : {false, true})
    for (const std::array<int, 3>& order : {std::array<int, 3>{0, 1, 2}, std::array<int, 3>{1, 0, 2}})
      for (const double spacing_mm : {1.0, 1.5}) {
        plans.transpose_forward = order;
        plans.transpose_backward = inverse(order);
        configuration.use_mask_for_norm = {mask, mask};
        configuration.spacing_mm = {spacing_mm, spacing_mm, spacing_mm};
        CaseImages again = images;
        again.data = images.data.clone();
        const void* memory = again.data.view().data;
        const PreprocessedCase apart = preprocess_case("x", images, {}, plans, configuration, g.labels, 1);
        const PreprocessedCase within =
            preprocess_case("x", sequences_of(std::move(again)), {}, plans, configuration, g.labels, 1);
        ASSERT_EQ(apart.data.shape(), within.data.shape());
        EXPECT_EQ(std::memcmp(apart.data.view().data, within.data.view().data, apart.data.bytes()), 0)
            << mask << order[0] << spacing_mm;
        EXPECT_EQ(within.data.view().data == memory, order[0] == 0 && spacing_mm == 1.0);
      }
}

TEST(preprocess, survives_the_file) {
  Golden g = goldens()[1];
  g.images.geometry.quatern = {0.1, 1e-300, -0.3, 1.0 / 3, 5, 6};
  g.images.geometry.srow[1][2] = std::nextafter(1.0, 2.0);
  const PreprocessedCase c = g.run();
  const Path path = Path(testing::TempDir()) / sentence("metvox_preprocess_", ::getpid(), ".safetensors");
  write_preprocessed(path, c);
  const PreprocessedCase r = read_preprocessed(path);
  EXPECT_EQ(to_json(read_properties(path)), to_json(c.properties));
  std::filesystem::remove(path);
  ASSERT_EQ(r.data.shape(), c.data.shape());
  EXPECT_EQ(0, std::memcmp(r.data.data<float>(), c.data.data<float>(), c.data.bytes()));
  EXPECT_EQ(0, std::memcmp(r.seg.data<int8_t>(), c.seg.data<int8_t>(), c.seg.bytes()));
  ASSERT_EQ(r.locations.size(), c.locations.size());
  for (size_t k = 0; k < c.locations.size(); ++k) EXPECT_EQ(r.locations[k].shape(), c.locations[k].shape());
  EXPECT_EQ(r.properties.geometry.quatern, c.properties.geometry.quatern);
  EXPECT_EQ(r.properties.geometry.srow, c.properties.geometry.srow);
  EXPECT_EQ(r.properties.geometry.affine.m, c.properties.geometry.affine.m);
  EXPECT_EQ(r.properties.spacing_mm, c.properties.spacing_mm);
}

TEST(preprocess, an_empty_case_is_refused) {
  Golden g = goldens()[0];
  std::fill_n(g.images.data.data<float>(), g.images.data.size(), 0.0f);
  EXPECT_THROW(g.run(), Error);
}

}  // namespace
}  // namespace metvox
