// SPDX-License-Identifier: Apache-2.0
// phantom -> check -> plan -> preprocess -> inspect on tiny heads; then the same with things that go wrong.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "io/json.h"
#include "io/csv.h"
#include "io/nifti.h"
#include "io/safetensors.h"
#include "tests/tools/subprocess.h"

namespace metvox {

namespace fs = std::filesystem;

class pipeline : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cohort_ = new Path(fresh_folder("cohort"));
    const Outcome o =
        metvox_run({"phantom", "--out", cohort_->string(), "--cases", "3", "--seed", "7", "--size", "32x40x32"});
    ASSERT_EQ(o.code, 0) << o.err;
  }
  static void TearDownTestSuite() {
    fs::remove_all(*cohort_);
    delete cohort_;
  }
  // A copy of the cohort that a test may harm.
  static Path raw() {
    const Path copy = fresh_folder("raw");
    fs::copy(*cohort_, copy, fs::copy_options::recursive);
    return copy;
  }
  static Path image(const Path& raw, size_t n) { return nth(raw / "imagesTr", n); }
  static Path label(const Path& raw, size_t n) { return nth(raw / "labelsTr", n); }
  static Outcome plan(const Path& raw, const Path& out) {
    return metvox_run(
        {"plan", raw, "--out", out, "--base-features", "4", "--patch-size", "16", "16", "16", "--batch-size", "2"});
  }
  static Outcome preprocess(const Path& raw, const Path& out, bool json = false) {
    std::vector<std::string> arguments{"preprocess", raw, "--plans", out / "plans.json", "--out", out};
    if (json) arguments.push_back("--json");
    return metvox_run(arguments);
  }

 private:
  static Path nth(const Path& folder, size_t n) {
    std::vector<Path> files;
    for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files.at(n);
  }
  static Path* cohort_;
};
Path* pipeline::cohort_ = nullptr;

TEST_F(pipeline, goes_from_phantoms_to_preprocessed_cases) {
  const Path data = raw(), out = fresh_folder("preprocessed");
  EXPECT_EQ(count_files(data / "imagesTr", ".nii.gz"), 12);
  EXPECT_EQ(count_files(data / "labelsTr", ".nii.gz"), 3);
  const Outcome checked = metvox_run({"check", data, "--json"});
  EXPECT_EQ(checked.code, 0) << checked.out;
  EXPECT_EQ(Json::parse(checked.out)["cases"], 3);

  ASSERT_EQ(plan(data, out).code, 0);
  for (const char* name : {"plans.json", "dataset.json", "dataset_fingerprint.json"})
    EXPECT_TRUE(fs::exists(out / name)) << name;
  const Json plans = Json::parse(metvox_run({"inspect", out / "plans.json", "--json"}).out);
  EXPECT_EQ(plans["configurations"]["3d_fullres"]["patch_size"], Json({16, 16, 16}));
  EXPECT_EQ(plans["configurations"]["3d_fullres"]["batch_size"], 2);
  EXPECT_EQ(plans["configurations"]["3d_fullres"]["features_per_stage"][0], 4);

  const Json first = Json::parse(preprocess(data, out, true).out);
  EXPECT_EQ(first["done"], 3);
  EXPECT_EQ(count_files(out, ".safetensors"), 3);
  EXPECT_EQ(count_files(out / "gt_segmentations", ".nii.gz"), 3);
  const Json again = Json::parse(preprocess(data, out, true).out);
  EXPECT_EQ(again["done"], 0);
  EXPECT_EQ(again["skipped"], 3);
}

TEST_F(pipeline, repeats_itself_bit_for_bit_and_keeps_what_is_whole) {
  const Path data = raw(), other = fresh_folder("other");
  const std::vector<std::string> arguments{"phantom", "--out",  other,      "--cases",   "1", "--seed",
                                           "7",       "--size", "32x40x32", "--threads", "1"};
  ASSERT_EQ(metvox_run(arguments).code, 0);
  EXPECT_EQ(read_bytes(image(data, 0)), read_bytes(image(other, 0)));
  EXPECT_EQ(read_bytes(label(data, 0)), read_bytes(label(other, 0)));
  const auto written = fs::last_write_time(image(other, 0));
  ASSERT_EQ(metvox_run(arguments).code, 0);
  EXPECT_EQ(fs::last_write_time(image(other, 0)), written);
}

TEST_F(pipeline, dry_runs_write_nothing) {
  const Path data = raw(), out = fresh_folder("out");
  EXPECT_EQ(metvox_run({"phantom", "--out", out, "--dry-run"}).code, 0);
  EXPECT_EQ(metvox_run({"plan", data, "--out", out, "--dry-run"}).code, 0);
  EXPECT_TRUE(fs::is_empty(out));
  ASSERT_EQ(plan(data, out).code, 0);
  EXPECT_EQ(metvox_run({"preprocess", data, "--plans", out / "plans.json", "--out", out, "--dry-run"}).code, 0);
  EXPECT_EQ(count_files(out, ".safetensors"), 0);
}

TEST_F(pipeline, plans_like_another_data_set) {
  const Path data = raw(), out = fresh_folder("out"), like = fresh_folder("like");
  ASSERT_EQ(plan(data, out).code, 0);
  ASSERT_EQ(metvox_run({"plan", data, "--out", like, "--like", out / "plans.json"}).code, 0);
  const auto patch = [](const Path& folder) {
    return Json::parse(
        metvox_run({"inspect", folder / "plans.json", "--json"}).out)["configurations"]["3d_fullres"]["patch_size"];
  };
  EXPECT_EQ(patch(like), patch(out));
}

TEST_F(pipeline, inspects_an_image) {
  const Path file = image(raw(), 0);
  const Outcome o = metvox_run({"inspect", file, "--json", "--at", "0,0,0"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json found = Json::parse(o.out);
  for (const char* key : {"shape", "spacing_mm", "axes", "dtype", "affine", "min", "max", "mean", "warnings", "value"})
    EXPECT_TRUE(found.contains(key)) << key;
  EXPECT_EQ(found["shape"], Json({32, 40, 32}));
  EXPECT_EQ(metvox_run({"inspect", file, "--at", "0,0"}).code, 2);
  EXPECT_EQ(metvox_run({"inspect", file, "--at", "1e9,0,0"}).code, 3);
  EXPECT_EQ(metvox_run({"inspect", file.string() + ".not"}).code, 3);
}

TEST_F(pipeline, inspects_tensors_that_are_no_model) {
  const Path file = fresh_folder("tensors") / "a.safetensors";
  const Tensor x = Tensor::zeros({2, 3}, DType::f32);
  write_safetensors(file, {{"x", x.view()}}, {});
  const Json found = Json::parse(metvox_run({"inspect", file, "--json"}).out);
  EXPECT_FALSE(found.contains("parameters"));
  EXPECT_EQ(found["tensors"][0]["shape"], Json({2, 3}));
}

TEST_F(pipeline, evaluates_the_others_when_a_label_is_undefined) {
  const Path data = raw(), out = fresh_folder("out"), pred = fresh_folder("pred");
  fs::copy(data / "labelsTr", pred);
  const Volume v = read_nifti_labels(label(data, 1));
  v.voxels.data<uint8_t>()[v.voxels.size() / 2] = 9;
  write_nifti(label(data, 1), v.voxels, v.geometry);
  const Outcome o = metvox_run({"evaluate", "--pred", pred, "--truth", data / "labelsTr", "--out", out});
  EXPECT_EQ(o.code, 5);
  EXPECT_TRUE(says(o.err, label(data, 1).string() + " holds labels that the data set does not define: 9 (1 voxel)"));
}

TEST_F(pipeline, views_segmentations) {
  const Path data = raw(), out = fresh_folder("out");
  const Outcome o = metvox_run({"view", data / "labelsTr", "--out", out, "--json"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(Json::parse(o.out)["written"], count_files(out, ".seg.nrrd"));
  for (const char* name : {"labels.ctbl", "labels.txt", "labels-niivue.json"})
    EXPECT_TRUE(fs::exists(out / name)) << name;
  EXPECT_EQ(metvox_run({"view", data / "labelsTr", "--out", data / "labelsTr"}).code, 2);
  EXPECT_EQ(metvox_run({"view", fresh_folder("none"), "--out", out}).code, 3);
}

// A mask of nothing: what is not defined is said beside the means, and in the row.
TEST_F(pipeline, evaluate_says_what_is_not_defined) {
  const Path data = raw(), out = fresh_folder("out"), pred = fresh_folder("pred");
  fs::copy(data / "labelsTr", pred);
  const Path one = pred / label(data, 1).filename();
  const Volume v = read_nifti_labels(one);
  write_nifti(one, Tensor::zeros(v.voxels.shape(), DType::u8), v.geometry);
  const Outcome o =
      metvox_run({"evaluate", "--pred", pred, "--truth", data / "labelsTr", "--out", out, "--threads", "1"});
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(says(o.err, "the prediction is empty, distances are infinite"));
  EXPECT_TRUE(says(o.out, "cases)"));
  const Json overview = read_json(out / "summary.json")["overview"];
  EXPECT_EQ(overview["columns"]["Hausdorff_wt"]["infinite"], 1);
  EXPECT_EQ(overview["notes"].size(), 3u);
  const CsvTable extended = read_csv(out / "extended.csv");
  EXPECT_EQ(extended.columns.back(), "notes");
}

TEST_F(pipeline, one_bad_case_does_not_stop_the_others) {
  const Path data = raw(), out = fresh_folder("out");
  ASSERT_EQ(plan(data, out).code, 0);
  const Path victim = image(data, 5);  // of the second case
  fs::resize_file(victim, fs::file_size(victim) / 2);
  const Outcome checked = metvox_run({"check", data});
  EXPECT_EQ(checked.code, 3);
  EXPECT_TRUE(says(checked.out, victim.filename().string()));
  const Outcome o = preprocess(data, out);
  EXPECT_EQ(o.code, 5);
  EXPECT_TRUE(says(o.err, victim.filename().string()));
  EXPECT_EQ(count_files(out, ".safetensors"), 2);
  EXPECT_EQ(count_files(out, ".tmp"), 0);
}

TEST_F(pipeline, nothing_that_can_be_done_is_exit_3) {
  const Path data = raw(), out = fresh_folder("out");
  ASSERT_EQ(plan(data, out).code, 0);
  for (size_t n = 0; n < 12; n += 4) fs::resize_file(image(data, n), 100);
  EXPECT_EQ(preprocess(data, out).code, 3);
  EXPECT_EQ(count_files(out, ".safetensors"), 0);
  EXPECT_EQ(metvox_run({"plan", data / "nowhere", "--out", out}).code, 3);
  EXPECT_EQ(metvox_run({"check", data / "nowhere"}).code, 3);
}

TEST_F(pipeline, names_a_missing_sequence) {
  const Path data = raw(), out = fresh_folder("out");
  const Path victim = image(data, 2);
  fs::remove(victim);
  const std::string id = label(data, 0).filename().string().substr(0, label(data, 0).filename().string().find('.'));
  const Outcome checked = metvox_run({"check", data});
  EXPECT_EQ(checked.code, 3);
  EXPECT_TRUE(says(checked.out, id));
  const Outcome planned = plan(data, out);
  EXPECT_EQ(planned.code, 5);
  EXPECT_TRUE(says(planned.err, id));
}

TEST_F(pipeline, names_labels_that_the_data_set_does_not_know) {
  const Path data = raw();
  const Volume v = read_nifti_labels(label(data, 1));
  v.voxels.data<uint8_t>()[v.voxels.size() / 2] = 9;
  write_nifti(label(data, 1), v.voxels, v.geometry);
  const Outcome o = metvox_run({"check", data});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.out, "9"));
  EXPECT_TRUE(says(o.out, label(data, 1).filename().string()));
}

TEST_F(pipeline, names_every_grid_when_they_differ) {
  const Path data = raw();
  Affine shifted;
  shifted.m[0][3] = 17;
  Tensor other = Tensor::zeros({20, 21, 22}, DType::i16);
  other.data<int16_t>()[5] = 1;
  write_nifti(image(data, 1), other, make_geometry({22, 21, 20}, shifted));
  std::vector<std::string> files{"check"};
  for (size_t n = 0; n < 4; ++n) files.push_back(image(data, n));
  for (const auto& arguments : {files, std::vector<std::string>{"check", data}}) {
    const Outcome o = metvox_run(arguments);
    EXPECT_EQ(o.code, 3);
    EXPECT_TRUE(says(o.out, "32x40x32"));
    EXPECT_TRUE(says(o.out, "22x21x20"));
  }
}

TEST_F(pipeline, checks_a_folder_of_inputs) {
  const Path data = raw();
  const Outcome o = metvox_run({"check", data / "imagesTr", "--json"});
  EXPECT_EQ(o.code, 0) << o.out;
  EXPECT_EQ(Json::parse(o.out)["cases"], 3);
}

TEST_F(pipeline, a_signal_leaves_nothing_half_written) {
  const Path out = fresh_folder("out");
  Subprocess process{{"phantom", "--out", out, "--cases", "1000", "--size", "64x64x64", "--quiet"}};
  process.start();
  for (int i = 0; i < 6000 && count_files(out, ".nii.gz") < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(process.pid, SIGINT);
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 130);
  EXPECT_TRUE(says(o.err, "interrupted"));
  EXPECT_EQ(count_files(out, ".tmp"), 0);
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (!entry.path().string().ends_with(".nii.gz")) continue;
    EXPECT_NO_THROW(read_nifti(entry.path())) << entry.path();
  }
}

TEST_F(pipeline, a_full_disk_is_a_sentence) {
  const Path out = fresh_folder("out");
  Subprocess process{{"phantom", "--out", out, "--size", "64x64x64", "--quiet"}, 20000};
  process.start();
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, "cannot write"));
  EXPECT_EQ(count_files(out, ".tmp"), 0);
  EXPECT_EQ(count_files(out, ".nii.gz"), 0);
}

TEST_F(pipeline, preprocess_says_what_a_full_disk_leaves_undone) {
  const Path data = raw(), out = fresh_folder("out");
  ASSERT_EQ(plan(data, out).code, 0);
  const std::vector<std::string> arguments{"preprocess", data, "--plans", out / "plans.json", "--out", out};
  Subprocess full{arguments, 20000};  // plans and labels fit, preprocessed cases do not
  full.start();
  const Outcome o = full.wait();
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, "cannot write"));
  EXPECT_TRUE(says(o.err, "2 more cases were not begun; make room in " + out.string()));
  EXPECT_EQ(count_files(out, ".safetensors"), 0);
  EXPECT_EQ(count_files(out, ".tmp"), 0);

  // Two are finished before the disk is full: they are kept.
  ASSERT_EQ(preprocess(data, out).code, 0);
  const Path last = label(data, 2).filename();
  for (const auto& entry : fs::recursive_directory_iterator(out))
    if (entry.path().stem() == last.stem().stem()) fs::remove(entry.path());
  fs::remove(out / "gt_segmentations" / last);
  Subprocess again{arguments, 20000};
  again.start();
  const Outcome second = again.wait();
  EXPECT_EQ(second.code, 5);
  EXPECT_TRUE(says(second.err, "0 cases preprocessed, 2 were finished before, 1 failed"));
  EXPECT_EQ(count_files(out / "gt_segmentations", ".nii.gz"), 2);
}

TEST_F(pipeline, sentences_name_the_case_the_file_and_the_way_out) {
  const Path data = raw(), out = fresh_folder("out");
  ASSERT_EQ(plan(data, out).code, 0);
  const auto id = [&](size_t n) { return label(data, n).stem().stem().string(); };
  fs::resize_file(image(data, 1), fs::file_size(image(data, 1)) / 2);
  Affine huge;
  for (size_t a = 0; a < 3; ++a) huge.m[a][a] = 1e6;
  write_nifti(image(data, 5), Tensor::zeros({32, 40, 32}, DType::i16), make_geometry({32, 40, 32}, huge));
  const Outcome checked = metvox_run({"check", data});
  const Outcome o = preprocess(data, out);
  EXPECT_EQ(o.code, 5);
  for (const std::string& text : {checked.out, o.err}) {
    EXPECT_TRUE(says(text, "case " + id(0) + ": " + image(data, 1).string() + ": the gzip stream is truncated after "));
    EXPECT_TRUE(says(text, "; copy or download the file again"));
    EXPECT_TRUE(says(text, "case " + id(1) + ": " + image(data, 5).string() + ": a spacing of "));
    EXPECT_TRUE(says(text, "; mend pixdim and the affine in the header"));
  }
  EXPECT_TRUE(says(checked.out, "3 cases, 2 faults, 0 warnings\n"));
  EXPECT_TRUE(says(o.err, "1 case preprocessed, 0 were finished before, 2 failed"));
}

TEST_F(pipeline, folders_that_are_no_images_and_no_models_are_named) {
  const Path folder = fresh_folder("x.nii.gz"), out = fresh_folder("out");
  for (const std::string verb : {"check", "inspect"}) {
    const Outcome o = metvox_run({verb, folder});
    EXPECT_EQ(o.code, 3);
    EXPECT_TRUE(says(o.out + o.err, folder.string() + ": ")) << verb;
  }
  const Outcome o = metvox_run({"predict", "-i", raw() / "imagesTr", "-o", out, "-m", folder});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, folder.string() + ": is no model folder, for it holds no plans.json (nor anything else)"));
}

TEST_F(pipeline, refuses_to_mix_cases_of_two_plans) {
  const Path data = raw(), out = fresh_folder("out"), other = fresh_folder("other");
  ASSERT_EQ(plan(data, out).code, 0);
  ASSERT_EQ(metvox_run({"plan", data, "--out", other, "--base-features", "8", "--patch-size", "16", "16", "16"}).code,
            0);
  const Outcome o = metvox_run({"preprocess", data, "--plans", other / "plans.json", "--out", out});
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(says(o.err, "folder of its own"));
}

}  // namespace metvox
