// SPDX-License-Identifier: Apache-2.0
// Models from elsewhere against the reference's own numbers (tests/golden/make_exchange.py), and files that lie.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "fake_model.h"
#include "io/torch_file.h"
#include "segmentation/exchange/export_model.h"
#include "segmentation/exchange/import_model.h"
#include "segmentation/exchange/verify.h"
#include "segmentation/inference/predict_cases.h"
#include "segmentation/inference/previous_stage.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

const Path kGolden = Path(METVOX_SOURCE_DIR) / "tests" / "golden" / "exchange";

// A copy of a golden folder that a test may spoil.
Path copied(const std::string& name) {
  const Path to = fresh_dir(name);
  fs::copy(kGolden / name, to, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  for (const auto& entry : fs::recursive_directory_iterator(to))
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
  return to;
}

Path imported(const Path& source) {
  const Path results = fresh_dir("results");
  if (!fs::exists(source / "model.pt")) return import_nnunet({source, results, {}, "final", false}).model;
  MonaiImport request{source / "model.pt", results, {}, false};
  request.described = {read_description(source / "dataset.json"), read_plans(source / "plans.json"), "3d_fullres"};
  return import_monai(request).model;
}

void expect_parity(const std::string& name) {
  const Path model = imported(kGolden / name);
  fs::copy(kGolden / name / "oracle", model / "oracle", fs::copy_options::recursive);
  const Certificate c = verify_model(open_model(model), "final", {});
  EXPECT_GE(c.stages.size(), 10u);
  for (const VerifiedStage& s : c.stages)
    EXPECT_TRUE(s.ok) << name << ", stage " << s.name << ": " << s.error << " above " << s.limit;
}

// What an import says; nothing may have been written.
std::string import_refused(const Path& source) {
  const Path results = fresh_dir("results");
  try {
    import_nnunet({source, results, {}, "final", false});
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input) << e.what();
    EXPECT_TRUE(fs::is_empty(results)) << "something was written";
    return e.what();
  }
  ADD_FAILURE() << "imported";
  return "";
}

std::string after_json(const char* file, const std::function<void(Json&)>& change) {
  const Path source = copied("resenc");
  Json json = read_json(source / file);
  change(json);
  write_json(source / file, json);
  return import_refused(source);
}

std::string after_plan(const std::function<void(Json&)>& change) {
  return after_json("plans.json", [&](Json& j) { change(j["configurations"]["3d_fullres"]); });
}

// The checkpoint with other weights or values.
struct Checkpoint {
  std::vector<std::pair<std::string, Tensor>> weights;
  Json others;

  explicit Checkpoint(const Path& path) {
    TorchFile file(path);
    for (const auto& [name, value] : file.root().find("network_weights")->entries())
      weights.emplace_back(name, file.read(value.tensor(), name));
    for (const auto& [name, value] : file.root().entries())
      if (name != "network_weights") others[name] = value.json();
  }
  void write(const Path& path) const {
    std::vector<TorchEntry> entries;
    for (const auto& [name, tensor] : weights) entries.push_back({name, tensor.view()});
    write_torch_file(path, "network_weights", entries, others);
  }
};

// An import of weights that were changed, each under its first name alone.
std::string after_weights(const std::function<void(Checkpoint&)>& change) {
  const Path source = copied("resenc"), file = source / "fold_0" / "checkpoint_final.pth";
  Checkpoint checkpoint(file);
  std::erase_if(checkpoint.weights, [](const auto& w) {
    return w.first.find("all_modules") != std::string::npos || w.first.starts_with("decoder.encoder.");
  });
  change(checkpoint);
  checkpoint.write(file);
  return import_refused(source);
}

Tensor* find(Checkpoint& c, const std::string& name) {
  for (auto& [n, tensor] : c.weights)
    if (n == name) return &tensor;
  ADD_FAILURE() << "no " << name;
  return &c.weights.front().second;
}

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected \"" << part << "\" in: " << text;
}

void expect_export_comes_back(const std::string& name) {
  const Path model = imported(kGolden / name), out = fresh_dir("exported");
  export_model(open_model(model), "final", ExportFormat::nnunet, out, false);
  const auto names = [](const Path& path) {
    const TorchFile file(path);
    std::vector<std::string> all;
    for (const auto& [weight, value] : file.root().find("network_weights")->entries()) all.push_back(weight);
    std::sort(all.begin(), all.end());
    return all;
  };
  const Path inside = Path("fold_0") / "checkpoint_final.pth";
  EXPECT_EQ(names(out / inside), names(kGolden / name / inside));  // nnU-Net loads strictly
  const Path again = fresh_dir("again");
  const ImportedModel back = import_nnunet({out, again, {}, "final", false});
  const auto a = read_safetensors(model / "fold_0" / "checkpoint_final.safetensors"),
             b = read_safetensors(back.model / "fold_0" / "checkpoint_final.safetensors");
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [weight, tensor] : a.tensors)
    EXPECT_EQ(std::memcmp(tensor.view().data, b.tensors.at(weight).view().data, tensor.bytes()), 0)
        << name << ' ' << weight;
  EXPECT_EQ(open_model(back.model).mirror_axes, open_model(model).mirror_axes);
}

// nnU-Net's own predictor on the oracle's case (make_predicted.py).
void expect_prediction(const Json& golden, int64_t step) {
  const auto name = golden.at("name").get<std::string>();
  SCOPED_TRACE(name);
  const ModelFolder model = open_model(imported(kGolden / name));
  const Path dir = kGolden / name / "oracle";
  const CaseFiles files = find_inputs(dir, model.dataset.channel_names, nullptr).front();
  const CaseImages images = read_case(files);
  const Tensor previous = read_previous_stage(files.id, model, images.geometry, dir / "previous_stage");
  PreprocessedCase c =
      preprocess_case(files.id, images, previous, model.plans, model.config(), model.dataset.labels, 0);
  if (previous) c.data = with_previous_labels(c.data, c.seg, previous_labels(model.dataset, model.config()));
  Predictor predictor(model, {"0"}, "final", {.5, true, {}, SIZE_MAX, DType::f16});
  const Tensor logits = predictor.logits(c.data, [](int64_t, int64_t) {});
  const auto bits = golden.at("logits").get<std::string>();
  ASSERT_EQ(static_cast<int64_t>(bits.size() / 4), (logits.size() + step - 1) / step);
  int64_t others = 0;
  for (int64_t i = 0; i < logits.size(); i += step)
    others += logits.data<f16>()[i].bits != std::stoi(bits.substr(static_cast<size_t>(i / step * 4), 4), nullptr, 16);
  // Answers that agree to 1e-6 round to another f16, of 11 bits, once in 500 sums; a voxel is in up to 8 windows.
  EXPECT_LE(others, logits.size() / step / 50);
  const Tensor labels = restore_labels(logits, c.properties, model.plans, model.config(), model.dataset.labels);
  const auto digits = golden.at("labels").get<std::string>();
  ASSERT_EQ(labels.size(), static_cast<int64_t>(digits.size()));
  int64_t differ = 0;
  for (int64_t i = 0; i < labels.size(); ++i)
    differ += labels.data<uint8_t>()[i] != digits[static_cast<size_t>(i)] - '0';
  EXPECT_EQ(differ, 0);
}

}  // namespace

TEST(exchange, predicts_what_nnunet_predicts) {
  const Json golden = read_json(kGolden.parent_path() / "predicted.json");
  for (const Json& one : golden.at("cases")) expect_prediction(one, golden.at("step").get<int64_t>());
}

TEST(exchange, a_plain_unet_of_old_plans_is_the_reference) { expect_parity("plain"); }
TEST(exchange, a_residual_unet_of_turned_axes_is_the_reference) { expect_parity("resenc"); }
TEST(exchange, a_2d_unet_is_the_reference) { expect_parity("flat"); }
TEST(exchange, the_second_stage_of_a_cascade_is_the_reference) { expect_parity("cascade"); }
TEST(exchange, a_segresnet_of_monai_is_the_reference) { expect_parity("segresnet"); }

TEST(exchange, verify_finds_a_weight_that_was_changed) {
  const Path model = imported(kGolden / "plain"), file = model / "fold_0" / "checkpoint_final.safetensors";
  fs::copy(kGolden / "plain" / "oracle", model / "oracle");
  const SafeTensors weights = read_safetensors(file);
  weights.tensors.at("encoder.stages.1.0.convs.0.conv.weight").data<float>()[5] += .01f;
  std::vector<NamedView> tensors;
  for (const auto& [name, tensor] : weights.tensors) tensors.push_back({name, tensor.view()});
  write_safetensors(file, tensors, weights.metadata);
  const Certificate c = verify_model(open_model(model), "final", {});
  EXPECT_FALSE(c.ok());
  for (const VerifiedStage& s : c.stages) {
    const bool before = s.name == "read" || s.name == "crop" || s.name == "normalise" || s.name == "resample" ||
                        s.name.starts_with("layer encoder.stages.0");
    if (before) {
      EXPECT_TRUE(s.ok) << s.name;
    }
    if (s.name.starts_with("layer encoder.stages.1") || s.name == "window") {
      EXPECT_FALSE(s.ok) << s.name;
    }
  }
}

TEST(exchange, a_model_without_an_oracle_says_how_to_record_one) {
  const Path model = imported(kGolden / "plain");
  try {
    verify_model(open_model(model), "final", {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    EXPECT_TRUE(holds(e.what(), "tools/make_oracle.py"));
  }
}

TEST(exchange, what_is_exported_to_nnunet_comes_back) {
  for (const char* name : {"resenc", "flat", "cascade"}) expect_export_comes_back(name);
}

TEST(exchange, a_model_that_is_there_is_not_replaced) {
  const Path results = fresh_dir("results");
  const NnunetImport request{kGolden / "plain", results, {}, "final", false};
  import_nnunet(request);
  try {
    import_nnunet(request);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::usage);
    EXPECT_TRUE(holds(e.what(), "--overwrite"));
  }
  NnunetImport again = request;
  again.overwrite = true;
  EXPECT_EQ(import_nnunet(again).folds, std::vector<std::string>{"0"});
}

TEST(exchange, plans_that_are_not_known_are_refused_by_name) {
  EXPECT_TRUE(holds(after_json("plans.json", [](Json& j) { j["plans_version"] = 3; }), "plans_version is 3"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c.erase("architecture"); }), "of a version that is not known"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["preprocessor_name"] = "MyPreprocessor"; }),
                    "preprocessor_name is \"MyPreprocessor\""));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["resampling_fn_data"] = "resample_torch_fornnunet"; }),
                    "resample_torch_fornnunet"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["resampling_fn_data_kwargs"]["order"] = 1; }), "order is 1; only 3"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["architecture"]["network_class_name"] = "x.Primus"; }),
                    "the network is Primus"));
  EXPECT_TRUE(holds(after_plan([](Json& c) {
                      c["architecture"]["arch_kwargs"]["norm_op"] = "torch.nn.modules.batchnorm.BatchNorm3d";
                    }),
                    "BatchNorm3d"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["architecture"]["arch_kwargs"]["nonlin"] = "torch.nn.ReLU"; }),
                    "nonlin is \"torch.nn.ReLU\""));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["normalization_schemes"][0] = "MyNorm"; }), "MyNorm"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["previous_stage"] = "3d_lowres"; }),
                    "names 2 channels and 3 labels of the previous stage, but the weights of"));
  EXPECT_TRUE(holds(after_plan([](Json& c) { c["patch_size"] = {8, 16, 24}; }), "patch_size is [8,16,24], but"));
}

TEST(exchange, a_description_that_contradicts_the_files_is_refused) {
  EXPECT_TRUE(holds(after_json("dataset.json", [](Json& j) { j["channel_names"]["2"] = "T2"; }),
                    "dataset.json: channel_names is"));
  EXPECT_TRUE(holds(after_json("dataset.json",
                               [](Json& j) {
                                 j["labels"]["TC"] = {1, 2};
                               }),
                    "dataset.json: labels is"));
  // Where the checkpoint keeps no copy, the weights still tell.
  const Path source = copied("plain"), file = source / "fold_0" / "checkpoint_final.pth";
  Checkpoint checkpoint(file);
  std::erase_if(checkpoint.weights, [](const auto& w) {
    return w.first.find("all_modules") != std::string::npos || w.first.starts_with("decoder.encoder.");
  });
  checkpoint.others["init_args"].erase("dataset_json");
  checkpoint.write(file);
  Json dataset = read_json(source / "dataset.json");
  dataset["labels"].erase("TC");
  dataset["regions_class_order"] = {2, 3};
  write_json(source / "dataset.json", dataset);
  EXPECT_TRUE(holds(import_refused(source), "dataset.json: its labels make 2 heads, but the weights of"));
}

TEST(exchange, weights_of_another_shape_or_name_are_refused) {
  EXPECT_TRUE(holds(after_weights([](Checkpoint& c) {
                      Tensor* t = find(c, "encoder.stages.1.blocks.0.conv1.conv.weight");
                      *t = t->reshape({t->size(), 1, 1, 1, 1});
                    }),
                    "encoder.stages.1.blocks.0.conv1.conv.weight is ("));
  EXPECT_TRUE(holds(after_weights([](Checkpoint& c) { c.weights.pop_back(); }), "has no weight decoder.seg_layers"));
  EXPECT_TRUE(holds(after_weights([](Checkpoint& c) {
                      c.weights.emplace_back("encoder.attention.weight", Tensor::zeros({2}, DType::f32));
                    }),
                    "holds the weight encoder.attention.weight (2), which the network has not"));
  EXPECT_TRUE(holds(after_weights([](Checkpoint& c) {
                      c.weights.emplace_back("decoder.encoder.stem.convs.0.conv.bias", Tensor::zeros({4}, DType::f32));
                    }),
                    "two tensors here"));
  EXPECT_TRUE(
      holds(after_weights([](Checkpoint& c) { find(c, "encoder.stem.convs.0.conv.bias")->data<float>()[0] = NAN; }),
            "encoder.stem.convs.0.conv.bias holds numbers that are not finite"));
  EXPECT_TRUE(holds(after_weights([](Checkpoint& c) { c.others.erase("init_args"); }), "is no checkpoint of nnU-Net"));
}

TEST(exchange, files_that_are_no_checkpoints_are_refused) {
  const Path source = copied("plain"), file = source / "fold_0" / "checkpoint_final.pth";
  const auto whole = fs::file_size(file);
  for (const auto bytes : {whole - 1, whole / 2, whole - whole, decltype(whole){10}}) {
    fs::resize_file(file, bytes);
    EXPECT_NE(import_refused(source), "") << bytes;
  }
  const Path torch = kGolden.parent_path() / "torch";
  fs::copy_file(torch / "command.pth", file, fs::copy_options::overwrite_existing);
  EXPECT_TRUE(holds(import_refused(source), "asks for posix.system"));
  fs::copy_file(torch / "legacy.pt", file, fs::copy_options::overwrite_existing);
  EXPECT_TRUE(holds(import_refused(source), "before 1.6"));
  fs::remove(file);
  EXPECT_TRUE(holds(import_refused(source), "no fold has a checkpoint_final.pth"));
  fs::remove(source / "plans.json");
  EXPECT_TRUE(holds(import_refused(source), "has no plans.json"));
  write_text(source / "plans.pkl", "");
  EXPECT_TRUE(holds(import_refused(source), "nnU-Net v1"));
}

TEST(exchange, bare_weights_need_what_they_are_for) {
  const auto d = description_for_weights("bare", {"T1C", "FLAIR"}, {"WT=1,2,3", "TC=1,3", "ET=3"});
  EXPECT_EQ(d.labels.regions_class_order, (std::vector<int>{2, 1, 3}));
  const Path results = fresh_dir("results");
  const auto import = [&](const DatasetDescription& dataset) {
    MonaiImport request{kGolden / "segresnet" / "model.pt", results, {}, false};
    request.described = {dataset, plans_for_weights(dataset, {1, 1, 1}, {16, 16, 24}, true), "3d_fullres"};
    return import_monai(request);
  };
  for (const auto& [dataset, part] : {std::pair{description_for_weights("x", {"T1C"}, {"WT=1,2,3", "TC=1,3", "ET=3"}),
                                                "names 1 channels, but the weights of"},
                                      {description_for_weights("x", {"T1C", "FLAIR"}, {"WT=1,2", "ET=2"}),
                                       "its labels make 2 heads, but the weights of"}})
    try {
      import(dataset);
      ADD_FAILURE() << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      EXPECT_TRUE(holds(e.what(), part));
    }
  EXPECT_TRUE(fs::is_empty(results));
  const ModelFolder model = open_model(import(d).model);
  EXPECT_EQ(model.network, "segresnet");
  EXPECT_EQ(model.folds, std::vector<std::string>{"all"});
  EXPECT_EQ(model.config().patch(), (Int3{16, 16, 24}));
  for (const char* labels : {"WT", "WT=", "=1", "WT=0", "WT=1,", "WT=1;2"})
    EXPECT_THROW(description_for_weights("x", {"T1C"}, {labels}), Error) << labels;
}

}  // namespace metvox
