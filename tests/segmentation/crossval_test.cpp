// SPDX-License-Identifier: Apache-2.0
// accumulate and find_best on folds whose predictions are rows of voxels.
#include "segmentation/crossval/find_best.h"

#include <gtest/gtest.h>

#include "fake_model.h"
#include "io/nifti.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/inference/predict_cases.h"

namespace metvox {

namespace {

namespace fs = std::filesystem;

DatasetDescription one_label() {
  Json json = brats_description("x").json;
  json["labels"] = {{"background", 0}, {"lesion", 1}};
  json.erase("regions_class_order");
  return description_from_json(json, "x");
}

Geometry row_grid(size_t n) { return make_geometry({static_cast<int64_t>(n), 1, 1}, Affine{}); }

void write_row(const Path& dir, const std::string& id, const std::string& digits) {
  const Tensor t = Tensor::empty({1, 1, static_cast<int64_t>(digits.size())}, DType::u8);
  for (size_t i = 0; i < digits.size(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(digits[i] - '0');
  write_segmentation(dir, id, t, row_grid(digits.size()), one_label().labels, "");
}

// Tenths of the probability of the lesion; the labels follow from them.
void write_answer(const Path& dir, const std::string& id, const std::string& tenths) {
  const auto n = static_cast<int64_t>(tenths.size());
  const Tensor p = Tensor::empty({2, 1, 1, n}, DType::f32);
  std::string labels;
  for (int64_t i = 0; i < n; ++i) {
    const auto lesion = static_cast<float>(tenths[static_cast<size_t>(i)] - '0') / 10;
    p.data<float>()[i] = 1 - lesion;
    p.data<float>()[n + i] = lesion;
    labels += lesion > .5f ? '1' : '0';
  }
  write_row(dir, id, labels);
  write_probabilities(dir, id, p, one_label().labels);
}

// The answers of a model to case a in fold 0 and case b in fold 1, evaluated as training does.
Path write_model(const Path& model, const Path& truths, const std::string& a, const std::string& b) {
  fs::create_directories(model);
  write_json(model / "dataset.json", one_label().json);
  write_json(model / "plans.json", Json::object());
  for (const auto& [fold, id, answer] : {std::tuple{"fold_0", "a", a}, {"fold_1", "b", b}}) {
    const Path dir = model / fold / "validation";
    fs::create_directories(dir);
    write_answer(dir, id, answer);
    EXPECT_TRUE(evaluate_folder(dir, truths, one_label().labels).empty());
  }
  return model;
}

Path write_truths() {
  const Path truths = fresh_dir("truths");
  write_row(truths, "a", "0111100000");
  write_row(truths, "b", "0000011110");
  return truths;
}

template <class F>
std::string refusal(F&& f, Fault fault = Fault::input) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), fault);
    return e.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

BestFound best_of(const std::vector<Path>& models, const Path& dir, bool ensembles = true) {
  return find_best({models, {}, {}, ensembles}, dir, [](const std::string&) {});
}

}  // namespace

TEST(crossval, folds_are_collected_and_measured) {
  const Path truths = write_truths(), out = fresh_dir("out");
  const Path model = write_model(fresh_dir("m"), truths, "0999000000", "0000099990");
  fs::create_directories(model / "fold_all" / "validation");
  const CrossValidation v = open_cross_validation(model, {}, {});
  EXPECT_EQ(v.folds, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(v.truths, truths);
  EXPECT_TRUE(accumulate(v, out).empty());
  EXPECT_DOUBLE_EQ(foreground_dice(out), (6. / 7 + 1) / 2);
  EXPECT_EQ(read_json(out / "summary.json")["metric_per_case"].size(), 2u);
  EXPECT_TRUE(fs::exists(out / "plans.json"));
  EXPECT_TRUE(holds(refusal([&] { accumulate(v, out); }, Fault::usage), "give a new folder"));
  const Path one = fresh_dir("one");
  accumulate(open_cross_validation(model, {"1"}, {}), one);
  EXPECT_EQ(foreground_dice(one), 1);
}

TEST(crossval, folds_that_are_none_are_refused) {
  const Path truths = write_truths();
  const Path model = write_model(fresh_dir("m"), truths, "0999000000", "0000099990");
  const auto opened = [&](const std::vector<std::string>& folds) {
    return [&model, folds] { open_cross_validation(model, folds, {}); };
  };
  EXPECT_TRUE(holds(refusal(opened({"all"}), Fault::usage), "fold all is no fold of a cross-validation"));
  EXPECT_TRUE(holds(refusal(opened({"0", "0"}), Fault::usage), "fold 0 is given twice"));
  EXPECT_TRUE(holds(refusal(opened({"2"})), "fold 2 of " + model.string() + " is not trained"));
  write_answer(model / "fold_1" / "validation", "a", "0000000000");
  EXPECT_TRUE(holds(refusal(opened({})), "case a was predicted by two folds"));
  fs::remove(model / "fold_1" / "validation" / "a.nii.gz");
  fs::remove_all(truths);
  EXPECT_TRUE(holds(refusal(opened({})), "--truth"));
  EXPECT_TRUE(holds(refusal([&] { open_cross_validation(fresh_dir("empty"), {}, {}); }), "dataset.json"));
}

// Each model errs in another voxel, unsure of it: together they err nowhere.
TEST(crossval, a_pair_may_be_best) {
  const Path truths = write_truths(), out = fresh_dir("out");
  const Path one = write_model(fresh_dir("one"), truths, "0999400000", "0000099990"),
             two = write_model(fresh_dir("two"), truths, "0499900000", "0000099990");
  const BestFound found = best_of({one, two}, out);
  ASSERT_EQ(found.candidates.size(), 3u);
  EXPECT_EQ(found.candidates[found.best].name, "ensemble___one___two");
  EXPECT_EQ(found.candidates[found.best].dice, 1);
  EXPECT_DOUBLE_EQ(found.candidates[0].dice, (6. / 7 + 1) / 2);
  const Json information = read_json(out / "inference_information.json");
  EXPECT_EQ(information["best_model_or_ensemble"]["selected_model_or_models"].size(), 2u);
  EXPECT_EQ(information["all_results"].size(), 3u);
  EXPECT_TRUE(fs::exists(information["best_model_or_ensemble"]["postprocessing_file"].get<std::string>()));
  const std::string text = read_text(out / "inference_instructions.txt");
  EXPECT_TRUE(holds(text, "-m " + one.string() + " -f 0 1 --save-probabilities"));
  EXPECT_TRUE(holds(text, "metvox ensemble -i OUTPUT_FOLDER_MODEL_1 OUTPUT_FOLDER_MODEL_2 -o OUTPUT_FOLDER"));
  EXPECT_FALSE(holds(text, "metvox postprocess"));
}

TEST(crossval, of_equals_the_first_is_best) {
  const Path truths = write_truths();
  const Path one = write_model(fresh_dir("r1") / "m", truths, "0999000000", "0000099990"),
             two = write_model(fresh_dir("r2") / "m", truths, "0999000000", "0000099990");
  const BestFound found = best_of({one, two}, fresh_dir("out"));
  EXPECT_EQ(found.best, 0u);
  EXPECT_EQ(found.candidates[1].name, "m_2");
  EXPECT_TRUE(holds(refusal([&] { best_of({one, one / "."}, fresh_dir("o")); }, Fault::usage), "given twice"));
}

TEST(crossval, the_best_is_cleaned_where_that_helps) {
  const Path truths = write_truths(), out = fresh_dir("out of two words");
  const Path model = write_model(fresh_dir("m"), truths, "0999900009", "9000099990");
  const BestFound found = best_of({model}, out);
  ASSERT_EQ(found.postprocessing.rules.size(), 1u);
  const Json best = read_json(out / "inference_information.json")["best_model_or_ensemble"];
  EXPECT_DOUBLE_EQ(best["result_on_crossval_pre_pp"].get<double>(), 8. / 9);
  EXPECT_EQ(best["result_on_crossval_post_pp"], 1);
  const std::string text = read_text(out / "inference_instructions.txt");
  EXPECT_TRUE(holds(text, "deletes every other metastasis"));
  EXPECT_TRUE(holds(text, "'" + (out / "m" / "postprocessing.json").string() + "'"));
}

TEST(crossval, a_cascade_is_predicted_stage_by_stage) {
  const Path truths = write_truths(), out = fresh_dir("out"), results = fresh_dir("results");
  const Path model = write_model(results / "n__l__3d_cascade_fullres", truths, "0999000000", "0000099990");
  write_json(model / "plans.json",
             Json::parse(R"({"configurations": {"3d_cascade_fullres": {"previous_stage": "3d_lowres"}}})"));
  best_of({model}, out);
  const std::string text = read_text(out / "inference_instructions.txt");
  EXPECT_TRUE(holds(text, "-o OUTPUT_FOLDER_PREV_STAGE -m " + (results / "n__l__3d_lowres").string() + " -f 0 1\n"));
  EXPECT_TRUE(holds(text, "-f 0 1 --prev-stage-predictions OUTPUT_FOLDER_PREV_STAGE\n"));
}

TEST(crossval, models_that_cannot_be_compared_are_refused) {
  const Path truths = write_truths();
  const Path one = write_model(fresh_dir("one"), truths, "0999000000", "0000099990"),
             two = write_model(fresh_dir("two"), truths, "0999000000", "0000099990");
  fs::remove(prediction_files(two / "fold_1" / "validation", "b").probabilities);
  EXPECT_TRUE(holds(refusal([&] { best_of({one, two}, fresh_dir("a")); }), "--save-probabilities"));
  EXPECT_EQ(best_of({one, two}, fresh_dir("b"), false).candidates.size(), 2u);
  fs::remove(two / "fold_1" / "validation" / "b.nii.gz");
  EXPECT_TRUE(holds(refusal([&] {
                      best_of({one, two}, fresh_dir("c"));
                    }),
                    "case b is in the folds of " + one.string()));
  Json other = one_label().json;
  other["labels"] = {{"background", 0}, {"tumour", 1}};
  write_json(two / "dataset.json", other);
  EXPECT_TRUE(holds(refusal([&] { best_of({one, two}, fresh_dir("d")); }), "different labels"));
}

}  // namespace metvox
