// SPDX-License-Identifier: Apache-2.0
// A whole study of two small models on tiny phantoms, as processes: run, killed and resumed, by make.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "io/csv.h"
#include "io/json.h"
#include "io/nifti.h"
#include "segmentation/study/jobs.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

const char* const kConfig = R"({
  "public": {"phantom": {"cases": 2, "size": [32, 40, 32]}},
  "private": {"phantom": {"cases": 3, "size": [32, 40, 32]}},
  "held_out": {"phantom": {"cases": 3, "size": [32, 40, 32]}},
  "plan": {"base_features": 8, "patch_size": [16, 16, 16], "batch_size": 2},
  "models": {"tversky": {"network": "nnunet", "loss": "tversky-bce"}, "segresnet": {"lr": 1e-3}},
  "folds": [0, 1],
  "pretraining": {"epochs": 1, "fold": "all"},
  "training": {"epochs": 2},
  "iterations": 2,
  "val_iterations": 1,
  "prediction": {"mirroring": false, "probabilities": true}
})";

// A folder to be made, beside its configuration.
Path fresh_study(const std::string& name, const std::string& config = kConfig) {
  const Path folder = fresh_folder(name);
  write_text(folder / "config.json", config);
  return folder / "study";
}

std::vector<std::string> arguments(const Path& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> all{
      "study", out.parent_path() / "config.json", "--out", out, "--device", "cpu", "--precision", "f32", "--threads",
      "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// Files whose bytes the study decides: not logs, not times.
std::vector<Path> results_of(const Path& study) {
  std::vector<Path> files;
  for (const char* folder : {"data", "scores", "statistics"})
    for (const auto& entry : fs::recursive_directory_iterator(study / folder))
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), study));
  return files;
}

void expect_same_study(const Path& a, const Path& b) {
  const std::vector<Path> files = results_of(a);
  EXPECT_GT(files.size(), 40u);
  for (const Path& file : files) EXPECT_EQ(read_bytes(a / file), read_bytes(b / file)) << file;
  int segmentations = 0, checkpoints = 0;
  for (const auto& entry : fs::recursive_directory_iterator(a / "predictions"))
    if (entry.path().extension() == ".gz") {  // the header's note names the folder of the model, by its hash
      const Tensor x = read_nifti(entry.path()).voxels, y = read_nifti(b / fs::relative(entry.path(), a)).voxels;
      ASSERT_EQ(x.bytes(), y.bytes());
      EXPECT_EQ(std::memcmp(x.view().data, y.view().data, x.bytes()), 0) << entry.path();
      ++segmentations;
    }
  EXPECT_EQ(segmentations, 12);
  for (const auto& entry : fs::recursive_directory_iterator(a / "models"))
    if (entry.path().filename() == "checkpoint_final.safetensors") {
      EXPECT_EQ(read_bytes(entry.path()), read_bytes(b / fs::relative(entry.path(), a))) << entry.path();
      ++checkpoints;
    }
  EXPECT_EQ(checkpoints, 10);
}

int shell(const std::string& command) { return std::system(command.c_str()); }

class study : public testing::Test {
 protected:
  // The study that nobody disturbed.
  static const Path& undisturbed() {
    static const Path out = [] {
      const Path folder = fresh_study("undisturbed");
      const Outcome o = metvox_run(arguments(folder));
      EXPECT_EQ(o.code, 0) << o.err;
      EXPECT_EQ(o.out, (folder / "report" / "index.html").string() + "\n");
      return folder;
    }();
    return out;
  }
};

}  // namespace

TEST_F(study, ends_in_a_report) {
  const std::string page = read_text(undisturbed() / "report" / "index.html");
  for (const char* part : {"Phantoms are not patients", "not a medical device", "tversky-fine-tuned",
                           "segresnet-scratch", "0.001", "Lesions found, by size", "Learning curves", "Calibration",
                           "folds of each ensemble differ", "Plans moved", "Mann-Whitney", "<svg"})
    EXPECT_TRUE(says(page, part)) << part;
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(read_csv(undisturbed() / "statistics/paired/comparison.csv").rows.size(), 3 * 9 + 9u);

  const Outcome again = metvox_run(arguments(undisturbed(), {"--json"}));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(says(again.err, "was done before"));
  EXPECT_FALSE(says(again.err, "done in"));
  EXPECT_EQ(Json::parse(again.out)["failed"], 0);

  EXPECT_TRUE(fs::exists(undisturbed() / "explained/segresnet-scratch/index.html"));
  EXPECT_EQ(read_csv(undisturbed() / "statistics/paper/challenging.csv").rows.size(), 3u);
  EXPECT_EQ(read_csv(undisturbed() / "experts/form/form.csv").rows.size(), 3 * 2u);

  std::vector<std::string> other = arguments(undisturbed(), {"--scale", "demo"});
  EXPECT_EQ(metvox_run(other).code, 2);
}

TEST_F(study, killed_at_any_moment_it_goes_on_with_the_same_bits) {
  const Path whole = undisturbed(), out = fresh_study("killed");
  for (const int ms : {150, 900, 400, 1700, 1100, 700, 2300}) {
    Subprocess process{arguments(out)};
    process.start();
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    kill(process.pid, SIGKILL);
    process.wait();
  }
  const Outcome o = metvox_run(arguments(out));
  ASSERT_EQ(o.code, 0) << o.err;
  expect_same_study(whole, out);
}

TEST_F(study, make_runs_the_same_graph) {
  const Path out = fresh_study("made by $make's");
  const Outcome o = metvox_run(arguments(out, {"--jobs", "make"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string folder = shell_quoted(out), said = shell_quoted(out.parent_path() / "said");
  ASSERT_EQ(shell("make -n -C " + folder + " > " + said + " 2>&1"), 0);
  const std::string dry = read_text(out.parent_path() / "said");
  EXPECT_TRUE(says(dry, " train preprocessed/private --fold 1 --network segresnet"));
  EXPECT_TRUE(fs::exists(out / "Makefile"));
  ASSERT_EQ(shell("make -s -j2 -C " + folder + " > " + said + " 2>&1"), 0) << read_text(out.parent_path() / "said");
  expect_same_study(undisturbed(), out);
  EXPECT_TRUE(fs::exists(out / "report" / "index.html"));
}

TEST_F(study, slurm_scripts_are_sound) {
  const Path out = fresh_study("slurm"), bin = fresh_folder("bin");
  ASSERT_EQ(metvox_run(arguments(out, {"--jobs", "slurm"})).code, 0);
  EXPECT_TRUE(says(read_text(out / "slurm/pretrain.sbatch"), "\n#SBATCH --mem="));
  int scripts = 0;
  for (const auto& entry : fs::directory_iterator(out / "slurm")) {
    EXPECT_EQ(shell("bash -n '" + entry.path().string() + "'"), 0) << entry.path();
    ++scripts;
  }
  EXPECT_EQ(scripts, 14);
  // An sbatch that says what it was given, and numbers its jobs.
  write_text(bin / "sbatch", "#!/usr/bin/env bash\necho \"$*\" >> submitted\nwc -l < submitted\n");
  fs::permissions(bin / "sbatch", fs::perms::owner_all);
  ASSERT_EQ(shell("PATH='" + bin.string() + "':$PATH COMPUTE_OPTIONS=--gres=gpu:1 bash '" +
                  (out / "slurm/submit.sh").string() + "' > /dev/null"),
            0);
  const std::string submitted = read_text(out / "submitted");
  EXPECT_TRUE(says(submitted, "--gres=gpu:1 --dependency=afterok:4 slurm/pretrain.sbatch")) << submitted;
  // A task of an array runs its job, and passes over it when it is done.
  const std::string task =
      "cd '" + out.string() + "' && SLURM_SUBMIT_DIR=. SLURM_ARRAY_TASK_ID=1 bash slurm/data.sbatch";
  ASSERT_EQ(shell(task), 0);
  EXPECT_TRUE(fs::exists(out / "data/private/dataset.json"));
  EXPECT_TRUE(fs::exists(out / "jobs/data-private.done"));
  const auto when = fs::last_write_time(out / "jobs/data-private.done");
  ASSERT_EQ(shell(task), 0);
  EXPECT_EQ(fs::last_write_time(out / "jobs/data-private.done"), when);
}

TEST_F(study, dry_run_estimates_and_writes_nothing) {
  const Path out = fresh_study("dry");
  const Outcome o = metvox_run(arguments(out, {"--dry-run", "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_FALSE(fs::exists(out));
  const Json plan = Json::parse(o.out);
  ASSERT_EQ(plan["jobs"].size(), 3 + 4 + 2 + 8 + 4 + 4 + 2 + 4 + 1 + 1u);
  for (const Json& job : plan["jobs"]) {
    const std::string name = job["name"];
    EXPECT_GT(job["bytes"].get<int64_t>(), 0) << name;
    EXPECT_GT(job["seconds"].get<double>(), 0) << name;
    EXPECT_TRUE(begins(job["command"].get<std::string>(), "metvox "));
  }
}

TEST_F(study, a_failed_job_is_named_and_the_others_run) {
  Json config = Json::parse(kConfig);
  config["models"].erase("tversky");
  config["models"]["segresnet"]["lr"] = 1e30;
  const Path out = fresh_study("failing", config.dump());
  const Outcome o = metvox_run(arguments(out));
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_TRUE(says(o.err, "metvox study: pretrain-segresnet-all failed with exit code 3; see " +
                              (out / "jobs/pretrain-segresnet-all.log").string()));
  EXPECT_TRUE(says(o.err, "fine-tune-segresnet-0: left out, since it needs one that failed"));
  EXPECT_TRUE(says(read_text(out / "jobs/pretrain-segresnet-all.log"), "not finite"));
  EXPECT_EQ(metvox_run(arguments(out, {"--report"})).code, 3);  // nothing to report
}

TEST_F(study, a_damaged_case_is_left_out_and_named) {
  const Path out = fresh_study("damaged");
  fs::copy(undisturbed(), out, fs::copy_options::recursive);
  const Path image = out / "data/held-out/imagesTr" / "phantom_0002_0000.nii.gz";
  ASSERT_TRUE(fs::exists(image));
  const Bytes whole = read_bytes(image);
  write_text(image, "torn");
  for (const auto& entry : fs::directory_iterator(out / "predictions")) {
    fs::remove(entry.path() / "phantom_0002.nii.gz");
    fs::remove(out / "jobs" / ("predict-" + entry.path().filename().string() + ".done"));
  }
  const Outcome o = metvox_run(arguments(out));
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_TRUE(says(o.err, "predict-segresnet-scratch done in")) << o.err;
  EXPECT_TRUE(says(o.err, "without some cases"));
  EXPECT_EQ(read_csv(out / "scores/segresnet-scratch/scores.csv").rows.size(), 2u);
  const std::string page = read_text(out / "report/index.html");
  EXPECT_TRUE(says(page, "Cases are left out"));
  EXPECT_TRUE(says(page, "the 2 held-out cases"));

  // Nobody has begun with the form, so it now shows the cases that there are.
  const auto form_rows = [&] { return read_csv(out / "experts/form/form.csv").rows.size(); };
  EXPECT_EQ(form_rows(), 2 * 2u);

  write_bytes(image, whole);  // mended
  const Outcome again = metvox_run(arguments(out));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(form_rows(), 3 * 2u);
  EXPECT_EQ(count_files(out / "experts/keys", ".csv"), 2);  // of the forms before
  EXPECT_EQ(read_csv(out / "scores/segresnet-scratch/scores.csv").rows.size(), 3u);
  EXPECT_FALSE(says(read_text(out / "report/index.html"), "Cases are left out"));
}

TEST_F(study, experts_judge_without_knowing_whom) {
  const Path out = fresh_study("judged"), answers = out.parent_path() / "answers.csv";
  fs::copy(undisturbed(), out, fs::copy_options::recursive);
  const CsvTable key = read_csv(out / "experts/key.csv");
  const std::string page = read_text(out / "experts/form/form.html");
  EXPECT_TRUE(says(page, "not a medical device"));
  EXPECT_TRUE(says(page, key.rows[0][0]));
  for (const char* name : {"tversky", "segresnet", "src=\"http", "href=\"http"}) EXPECT_FALSE(says(page, name)) << name;
  EXPECT_TRUE(fs::exists(out / "experts/form/phantom_0001_B.nii.gz"));

  CsvTable form = read_csv(out / "experts/form/form.csv");
  for (size_t i = 0; i < form.rows.size(); ++i) {
    form.rows[i][form.column("expert", "")] = "Dr <b>A</b>";
    form.rows[i][form.column("overall", "")] = key.rows[i][3] == key.rows[0][3] ? "5" : "2";
  }
  write_csv(answers, form);
  const Outcome o = metvox_run({"experts", out, "--answers", answers, "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Json::parse(o.out)["judgements"], 6);
  const std::string report = read_text(out / "report/index.html");
  EXPECT_TRUE(says(report, "<td class=\"text\">" + key.rows[0][3] + "</td><td>3</td><td>5.00</td>")) << report.size();
  EXPECT_FALSE(says(report, "<b>A</b>"));
  EXPECT_EQ(read_csv(out / "experts/ratings.csv").rows.size(), 6u);
  // The same form again; another one only where this one, which is begun, is taken away.
  EXPECT_EQ(metvox_run({"experts", out, "--quiet"}).code, 0);
  EXPECT_EQ(read_csv(out / "experts/key.csv").rows, key.rows);
  const Outcome other = metvox_run({"experts", out, "--systems", "segresnet-scratch"});
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(says(other.err, "have begun to fill in another form")) << other.err;
  EXPECT_EQ(metvox_run({"experts", out, "--systems", "nobody"}).code, 2);

  // A prediction that is made anew: the form stays, and what was said of the old outline is left out.
  const std::string system = key.rows[0][3], sample = key.rows[0][1];
  const Path prediction = out / "predictions" / system / (sample + ".nii.gz"), shown = out / "experts/form/form.html";
  Volume v = read_nifti_labels(prediction);
  v.voxels.data<uint8_t>()[0] ^= 1;
  write_nifti(prediction, v.voxels, v.geometry, {kIntentLabel});
  const Bytes before = read_bytes(shown);
  const Outcome stale = metvox_run({"experts", out});
  EXPECT_EQ(stale.code, 0);
  EXPECT_TRUE(says(stale.err, "the form is older than the study: " + sample + " was predicted anew by " + system));
  EXPECT_EQ(read_bytes(shown), before);
  EXPECT_EQ(metvox_run({"experts", out, "--answers", answers}).code, 0);
  const std::string anew = read_text(out / "report/index.html");
  EXPECT_TRUE(says(anew, "Left out: 1 judgement of outlines that the study does not predict any more: " + sample));
  EXPECT_TRUE(says(anew, "The form is older than the study"));
  EXPECT_TRUE(says(anew, "<td class=\"text\">" + system + "</td><td>2</td><td>5.00</td>"));

  form.rows[1][form.column("overall", "")] = "6";
  write_csv(answers, form);
  EXPECT_EQ(metvox_run({"experts", out, "--answers", answers}).code, 3);
  EXPECT_EQ(metvox_run({"experts", out, "--answers", answers, "--seed", "1"}).code, 2);
}

TEST_F(study, wrong_usage) {
  const Path out = fresh_study("wrong");
  EXPECT_EQ(metvox_run(arguments(out, {"--scale", "huge"})).code, 2);
  EXPECT_EQ(metvox_run(arguments(out, {"--report", "--dry-run"})).code, 2);
  const Path unknown = fresh_study("unknown", R"({"epochs": 3})");
  const Outcome o = metvox_run(arguments(unknown));
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, "lacks the key \"public\""));
  for (const Path& folder : {out, unknown}) EXPECT_FALSE(fs::exists(folder));
}

}  // namespace metvox
