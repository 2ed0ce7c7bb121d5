// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fstream>

#include "segmentation/data/plans.h"

namespace metvox {
namespace {

Json sorted(const Json& json) {  // by key, since ordered objects compare their order too
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& v : json) out.push_back(sorted(v));
    return out;
  }
  if (!json.is_object()) return json;
  std::map<std::string, Json> by_key;
  for (const auto& [key, value] : json.items()) by_key[key] = sorted(value);
  return Json(by_key);
}

DatasetDescription description(int64_t num_training) {
  DatasetDescription d = brats_description("Dataset222_SBT");
  d.num_training = num_training;
  return d;
}

Fingerprint fingerprint(const Double3& spacing_mm, const Int3& shape, double relative_size = 1) {
  return {{spacing_mm}, {shape}, std::vector<IntensityProperties>(4), relative_size};
}

Fingerprint sbt() { return fingerprint({1.0000014305114746, 0.5, 0.5}, {192, 512, 432}, 0.98698); }
Fingerprint brats() { return fingerprint({1, 1, 1}, {144, 181, 142}, 0.4); }

const Configuration& named(const Plans& plans, const std::string& name) { return plans.configuration(name, "plans"); }

double elements(const Configuration& c) { return feature_map_elements(c.patch_size, c.architecture, 4); }

using Extents = std::vector<int64_t>;

// What the plans that luumsk/BrainMetaSeg published hold, and the sizes that nnU-Net's planner prints on the way to
// them.
TEST(planner, full_resolution_of_sbt) {
  const Plans plans = make_plans(sbt(), description(26), {});
  const Configuration& c = named(plans, "3d_fullres");
  EXPECT_EQ(c.patch_size, (Extents{64, 192, 160}));
  EXPECT_EQ(c.batch_size, 2);
  EXPECT_EQ(elements(c), 530488320);
  EXPECT_TRUE(c.batch_dice);
  EXPECT_EQ(c.architecture.kernel_sizes,
            (std::vector<Int3>{{1, 3, 3}, {3, 3, 3}, {3, 3, 3}, {3, 3, 3}, {3, 3, 3}, {3, 3, 3}}));
  EXPECT_EQ(c.architecture.strides,
            (std::vector<Int3>{{1, 1, 1}, {1, 2, 2}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}}));
  EXPECT_EQ(c.architecture.features_per_stage, (std::vector<int>{32, 64, 128, 256, 320, 320}));
  EXPECT_EQ(c.use_mask_for_norm, std::vector<bool>(4, false));
}

TEST(planner, initial_patch_of_sbt) {
  const Topology t = make_topology({1.0000014305114746, 0.5, 0.5}, {161, 323, 323});
  EXPECT_EQ(t.divisor, (Int3{32, 64, 64}));
  EXPECT_EQ(t.patch, (Int3{192, 384, 384}));
}

TEST(planner, full_resolution_of_brats) {
  const Plans plans = make_plans(brats(), description(652), {});
  const Configuration& c = named(plans, "3d_fullres");
  EXPECT_EQ(c.patch_size, (Extents{128, 160, 112}));
  EXPECT_EQ(c.batch_size, 2);
  EXPECT_EQ(elements(c), 497584640);
  EXPECT_EQ(c.architecture.strides.back(), (Int3{2, 2, 1}));
  EXPECT_FALSE(c.batch_dice);
  EXPECT_EQ(c.use_mask_for_norm, std::vector<bool>(4, true));
  EXPECT_EQ(plans.configurations.size(), 2u);  // no 3d_lowres, no cascade
}

TEST(planner, low_resolution_of_sbt) {
  const Plans plans = make_plans(sbt(), description(26), {});
  const Configuration& c = named(plans, "3d_lowres");
  EXPECT_NEAR(c.spacing_mm[0], 1.60470873, 5e-9);
  EXPECT_NEAR(c.spacing_mm[1], 0.82642382, 5e-9);
  EXPECT_NEAR(c.spacing_mm[2], 0.82642382, 5e-9);
  EXPECT_EQ(c.median_image_size, (std::vector<double>{120, 310, 261}));
  EXPECT_EQ(c.patch_size, (Extents{80, 192, 160}));
  EXPECT_EQ(elements(c), 533126400);
  EXPECT_FALSE(c.batch_dice);
  EXPECT_EQ(named(plans, "3d_cascade_fullres").previous_stage, "3d_lowres");
}

TEST(planner, slices) {
  const Configuration first = named(make_plans(sbt(), description(26), {}), "2d");
  EXPECT_EQ(first.patch_size, (Extents{512, 448}));
  EXPECT_EQ(first.batch_size, 14);
  EXPECT_EQ(elements(first), 72654848);
  EXPECT_EQ(first.patch(), (Int3{1, 512, 448}));
  const Configuration second = named(make_plans(brats(), description(652), {}), "2d");
  EXPECT_EQ(second.patch_size, (Extents{192, 160}));
  EXPECT_EQ(second.batch_size, 105);
  EXPECT_EQ(elements(second), 9676800);
}

TEST(planner, memory_of_an_isotropic_net) {
  Architecture a;
  a.network_class_name = "PlainConvUNet";
  a.features_per_stage = {32, 64, 128, 256, 320, 320};
  a.strides.assign(6, {2, 2, 2});
  a.strides[0] = {1, 1, 1};
  a.n_conv_per_stage.assign(6, 2);
  a.n_conv_per_stage_decoder.assign(5, 2);
  EXPECT_EQ(feature_map_elements({128, 128, 128}, a, 3), 452796416);
  // What nnU-Net's planner prints, less the heads of deep supervision that its example has on.
  constexpr double kHeads = 3 * (64. * 64 * 64 + 32. * 32 * 32 + 16. * 16 * 16 + 8. * 8 * 8);
  a.network_class_name = "ResidualEncoderUNet";
  a.n_conv_per_stage = {1, 3, 4, 6, 6, 6};
  a.n_conv_per_stage_decoder.assign(5, 1);
  EXPECT_EQ(feature_map_elements({128, 128, 128}, a, 3), 558319104 - kHeads);
}

// Golden plans of nnU-Net's own planners, every field, tests/golden/make_plans.py.
TEST(planner, agrees_with_nnunet) {
  const Json runs = Json::parse(std::ifstream(METVOX_SOURCE_DIR "/tests/golden/plans.json"));
  ASSERT_EQ(runs.size(), 25u);
  for (const Json& run : runs) {
    SCOPED_TRACE(run["name"].get<std::string>());
    DatasetDescription dataset;
    dataset.name = run["dataset_name"];
    for (const auto& [key, name] : run["dataset"]["channel_names"].items()) dataset.channel_names.push_back(name);
    dataset.labels = Labels::from_json(run["dataset"], "dataset.json");
    dataset.num_training = run["dataset"]["numTraining"];
    const Fingerprint f = fingerprint_from_json(run["fingerprint"], "fingerprint");
    PlannerOptions options;
    options.preset = run["preset"];
    options.gpu_memory_gb = run["gpu_memory_gb"];
    const Json got = sorted(to_json(make_plans(f, dataset, options))), want = sorted(run["plans"]);
    EXPECT_EQ(got, want) << Json::diff(want, got).dump(1);
  }
}

TEST(planner, a_patch_may_be_asked_for) {
  PlannerOptions options;
  options.patch_size = Int3{64, 64, 60};
  options.base_features = 8;
  options.batch_size = 3;
  const Plans plans = make_plans(brats(), description(652), options);
  const Configuration& c = named(plans, "3d_fullres");
  EXPECT_EQ(c.patch_size, (Extents{64, 64, 64}));  // padded to what the strides divide
  EXPECT_EQ(c.batch_size, 3);
  EXPECT_EQ(c.architecture.features_per_stage, (std::vector<int>{8, 16, 32, 64, 128}));
  EXPECT_EQ(c.architecture.strides, (std::vector<Int3>{{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}}));
  EXPECT_EQ(plans.configurations.size(), 2u);  // a coarser set would not be half the size
}

TEST(planner, refuses_what_no_network_fits) {
  EXPECT_THROW(make_plans(fingerprint({1, 1, 1}, {7, 7, 7}), description(26), {}), Error);
  PlannerOptions options;
  options.gpu_memory_gb = 1e-5;
  EXPECT_THROW(make_plans(sbt(), description(26), options), Error);
}

TEST(planner, refuses_an_unknown_preset) {
  PlannerOptions options;
  options.preset = "resenc-s";
  EXPECT_THROW(make_plans(sbt(), description(26), options), Error);
}

TEST(planner, plans_survive_the_file) {
  const Json written = to_json(make_plans(sbt(), description(26), {}));
  const Plans read = plans_from_json(Json::parse(written.dump()), "plans.json");
  EXPECT_EQ(to_json(read), written);
  EXPECT_EQ(named(read, "3d_cascade_fullres").patch_size, (Extents{64, 192, 160}));
}

TEST(planner, unknown_fields_and_inheritance_survive) {
  Json json = to_json(make_plans(sbt(), description(26), {}));
  json["who"] = "somebody";
  json["configurations"]["3d_fullres"]["note"] = {{"deep", 1}};
  json["configurations"]["mine"] = {{"inherits_from", "3d_fullres"}, {"batch_size", 5}};
  Plans plans = plans_from_json(json, "plans.json");
  EXPECT_EQ(named(plans, "mine").batch_size, 5);
  EXPECT_EQ(to_json(plans), json);
  plans.configurations[2].batch_size = 7;  // 3d_fullres
  json["configurations"]["3d_fullres"]["batch_size"] = 7;
  EXPECT_EQ(to_json(plans)["configurations"]["3d_fullres"], json["configurations"]["3d_fullres"]);
}

// nnU-Net up to 2.3, which is what the plans of luumsk/BrainMetaSeg are written in.
TEST(planner, reads_the_old_format) {
  const Json current = to_json(make_plans(sbt(), description(26), {}));
  Json old = current;
  for (const char* name : {"2d", "3d_lowres", "3d_fullres"}) {
    Json& c = old["configurations"][name];
    const Json kwargs = c["architecture"]["arch_kwargs"];
    c.erase("architecture");
    c["UNet_class_name"] = "PlainConvUNet";
    c["UNet_base_num_features"] = 32;
    c["unet_max_num_features"] = std::string(name) == "2d" ? 512 : 320;
    c["n_conv_per_stage_encoder"] = kwargs["n_conv_per_stage"];
    c["n_conv_per_stage_decoder"] = kwargs["n_conv_per_stage_decoder"];
    c["num_pool_per_axis"] = {4, 5, 5};
    c["pool_op_kernel_sizes"] = kwargs["strides"];
    c["conv_kernel_sizes"] = kwargs["kernel_sizes"];
  }
  EXPECT_EQ(sorted(to_json(plans_from_json(old, "plans.json"))), sorted(current));

  // What users were told to write: only the numbers that differ from those inherited.
  old["foreground_intensity_properties_by_modality"] = old["foreground_intensity_properties_per_channel"];
  old.erase("foreground_intensity_properties_per_channel");
  const std::vector<int> blocks(old["configurations"]["3d_fullres"]["n_conv_per_stage_encoder"].size(), 3);
  old["configurations"]["residual"] = {{"inherits_from", "3d_fullres"},
                                       {"UNet_class_name", "ResidualEncoderUNet"},
                                       {"n_conv_per_stage_encoder", blocks}};
  old["configurations"]["wide"] = {{"inherits_from", "residual"}, {"UNet_base_num_features", 48}, {"batch_size", 3}};
  old["configurations"]["alike"] = {{"inherits_from", "wide"}};
  const Plans plans = plans_from_json(old, "plans.json");
  const Configuration &parent = named(plans, "3d_fullres"), &residual = named(plans, "residual"),
                      &wide = named(plans, "wide");
  EXPECT_TRUE(residual.architecture.residual());
  EXPECT_EQ(residual.architecture.n_conv_per_stage, blocks);
  EXPECT_EQ(residual.architecture.strides, parent.architecture.strides);
  EXPECT_EQ(residual.architecture.features_per_stage, parent.architecture.features_per_stage);
  EXPECT_TRUE(wide.architecture.residual());
  EXPECT_EQ(wide.architecture.features_per_stage[1], 96);
  EXPECT_EQ(named(plans, "alike").architecture.features_per_stage, wide.architecture.features_per_stage);
  EXPECT_EQ(plans.intensities.size(), named(plans, "wide").normalization_schemes.size());
  const Plans again = plans_from_json(to_json(plans), "plans.json");
  EXPECT_EQ(named(again, "wide").architecture.features_per_stage, wide.architecture.features_per_stage);
}

TEST(planner, moves_plans) {
  DatasetDescription target = brats_description("Dataset111_Meta");
  const Plans plans = make_plans(sbt(), description(26), {});
  const Json moved = to_json(move_plans(plans_from_json(to_json(plans), "plans.json"), target));
  Json want = to_json(plans);
  want["dataset_name"] = "Dataset111_Meta";
  EXPECT_EQ(moved, want);
  target.channel_names.pop_back();
  EXPECT_THROW(move_plans(plans, target), Error);
}

TEST(planner, broken_plans_are_named) {
  const Json good = to_json(make_plans(sbt(), description(26), {}));
  const auto broken = [&](auto&& change) {
    Json json = good;
    change(json);
    try {
      plans_from_json(json, "plans.json");
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input) << e.what();
      EXPECT_NE(std::string(e.what()).find("plans.json"), std::string::npos) << e.what();
      return;
    }
    ADD_FAILURE() << "accepted";
  };
  broken([](Json& j) { j.erase("configurations"); });
  broken([](Json& j) { j["transpose_forward"] = {0, 0, 2}; });
  broken([](Json& j) { j["transpose_backward"] = {1, 0, 2}; });
  broken([](Json& j) { j["configurations"]["3d_fullres"]["spacing"] = {1, 0, 1}; });
  broken([](Json& j) { j["configurations"]["3d_fullres"]["patch_size"] = {1}; });
  broken([](Json& j) { j["configurations"]["3d_fullres"]["inherits_from"] = "3d_fullres"; });
  broken([](Json& j) { j["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"] = {2}; });
  broken([](Json& j) { j["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "a.b.UNETR"; });
  broken([](Json& j) { j["configurations"] = 3; });
}

TEST(planner, plans_that_no_network_can_take_say_why) {
  const Json good = to_json(make_plans(sbt(), description(26), {}));
  const auto refusal = [&](auto&& change) -> std::string {
    Json json = good;
    change(json["configurations"]["3d_fullres"]);
    try {
      plans_from_json(json, "plans.json");
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return e.what();
    }
    return "accepted";
  };
  const std::pair<std::string, std::string> expected[] = {
      {refusal([](Json& c) {
         c["patch_size"] = {65536, 65536, 32};
       }),
       "patch_size has more than 2^31 voxels"},
      {refusal([](Json& c) {
         c["patch_size"] = {64, 1 << 17, 64};
       }),
       "patch_size holds 131072"},
      {refusal([](Json& c) {
         c["patch_size"] = {0, 64, 64};
       }),
       "patch_size holds 0"},
      {refusal([](Json& c) {
         c["patch_size"] = {64, 200, 160};
       }),
       "patch_size holds 200, which the product of the strides, 32"},
      {refusal([](Json& c) {
         c["architecture"]["arch_kwargs"]["strides"][0] = {1, 2, 2};
       }),
       "strides begin with another than 1"},
      {refusal([](Json& c) { c["normalization_schemes"][2] = "MyNormalization"; }),
       "normalization_schemes holds MyNormalization; there are ZScoreNormalization, CTNormalization"},
      {refusal([](Json& c) { c["use_mask_for_norm"] = {true}; }), "4 normalization_schemes but 1 use_mask_for_norm"}};
  for (const auto& [text, part] : expected) EXPECT_NE(text.find("3d_fullres: " + part), std::string::npos) << text;
  EXPECT_EQ(refusal([](Json& c) { c["patch_size"] = {32, 8192, 8192}; }), "accepted");  // 2^31 voxels
}

}  // namespace
}  // namespace metvox
