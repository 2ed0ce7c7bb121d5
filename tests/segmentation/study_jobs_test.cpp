// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/jobs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "io/json.h"
#include "segmentation/data/case_files.h"
#include "segmentation/study/lock.h"
#include "segmentation/study/runner.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

Path fresh(const std::string& name) {
  const Path folder = Path(testing::TempDir()) / ("metvox-study-" + std::to_string(getpid())) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

StudyConfig phantoms(const Json& more = Json::object()) {
  Json json = Json::parse(R"({"public": {"phantom": {}}, "private": {"phantom": {}}, "held_out": {"phantom": {}}})");
  json.update(more);
  return study_config(json, "/study.json");
}

const Job& job_named(const std::vector<Job>& jobs, const std::string& name) {
  const auto found = std::find_if(jobs.begin(), jobs.end(), [&](const Job& j) { return j.name == name; });
  check(found != jobs.end(), "no job ", name);
  return *found;
}

// A folder of BraTS-named cases whose files hold their id.
Path brats_cases(const std::string& name, const std::vector<std::string>& ids) {
  const Path raw = fresh(name);
  for (const std::string& id : ids) {
    make_folder(raw / id);
    for (const char* sequence : {"t1c", "t1n", "t2f", "t2w", "seg"})
      write_text(raw / id / (id + "-" + sequence + ".nii.gz"), id);
  }
  return raw;
}

StudyConfig holding_out(const Path& raw, const Json& cases) {
  return phantoms({{"private", {{"raw", raw.string()}}}, {"held_out", {{"cases", cases}}}});
}

std::vector<std::string> ids_in(const Path& raw) {
  std::vector<std::string> ids;
  for (const CaseFiles& c : open_raw_dataset(raw, nullptr).training) ids.push_back(c.id);
  return ids;
}

bool has_pair(const Job& job, const std::string& flag, const std::string& value) {
  const auto found = std::find(job.arguments.begin(), job.arguments.end(), flag);
  return found != job.arguments.end() && found + 1 != job.arguments.end() && *(found + 1) == value;
}

// Jobs of a shell: `name` does `command`.
Job shell(const std::string& name, const std::string& command, const std::vector<std::string>& needs) {
  return {name, "shell", {"-c", command}, needs, name + ".txt"};
}

std::vector<JobState> states(const std::vector<Job>& jobs, const Path& study) {
  std::vector<JobState> out;
  for (const JobResult& r : run_jobs(jobs, study, "/bin/sh", {[](const Job&) {}, [](const Job&, const JobResult&) {}}))
    out.push_back(r.state);
  return out;
}

}  // namespace

TEST(study_jobs, the_published_design_has_45_trainings) {
  const std::vector<Job> jobs = study_jobs(phantoms(), {});
  const auto of_verb = [&](const std::string& verb) {
    return std::count_if(jobs.begin(), jobs.end(), [&](const Job& j) { return j.arguments[0] == verb; });
  };
  EXPECT_EQ(of_verb("phantom"), 3);
  EXPECT_EQ(of_verb("plan"), 2);
  EXPECT_EQ(of_verb("preprocess"), 2);
  EXPECT_EQ(of_verb("train"), 45);
  EXPECT_EQ(of_verb("predict"), 6);
  EXPECT_EQ(of_verb("evaluate"), 6);
  EXPECT_EQ(of_verb("compare"), 2);
  EXPECT_EQ(of_verb("explain"), 6);
  EXPECT_EQ(of_verb("experts"), 1);
  EXPECT_EQ(jobs.back().name, "report");
  std::set<std::string> names;
  std::set<Path> outputs;
  for (const Job& job : jobs) {
    for (const std::string& need : job.needs) EXPECT_TRUE(names.contains(need)) << job.name << " needs " << need;
    EXPECT_TRUE(names.insert(job.name).second) << job.name;
    EXPECT_TRUE(outputs.insert(job.output).second) << job.output;
    EXPECT_TRUE(job.output.is_relative());
  }
}

TEST(study_jobs, both_regimes_have_one_budget_and_plans_are_the_private_set_s) {
  const std::vector<Job> jobs = study_jobs(phantoms(), {{"--device", "cpu"}, {"--threads", "1"}});
  std::vector<std::string> tuned = job_named(jobs, "fine-tune-segresnet-3").arguments,
                           scratch = job_named(jobs, "scratch-segresnet-3").arguments;
  const auto from = std::find(tuned.begin(), tuned.end(), "--pretrained");
  ASSERT_NE(from, tuned.end());
  EXPECT_EQ(*(from + 1),
            "models/pretrained/segresnet/segresnet__dice-bce__3d_fullres/fold_3/checkpoint_final.safetensors");
  tuned.erase(from, from + 2);
  std::replace(tuned.begin(), tuned.end(), std::string("models/fine-tuned/segresnet"),
               std::string("models/scratch/segresnet"));
  EXPECT_EQ(tuned, scratch);
  EXPECT_TRUE(has_pair(job_named(jobs, "plan-public"), "--like", "preprocessed/private/plans.json"));
  EXPECT_TRUE(has_pair(job_named(jobs, "scratch-default-0"), "--device", "cpu"));
  EXPECT_TRUE(has_pair(job_named(jobs, "scratch-default-0"), "--threads", "1"));
  EXPECT_TRUE(has_pair(job_named(jobs, "preprocess-public"), "--threads", "1"));
  EXPECT_FALSE(has_pair(job_named(jobs, "preprocess-public"), "--device", "cpu"));
}

TEST(study_jobs, one_pretraining_may_serve_all_folds) {
  const std::vector<Job> jobs = study_jobs(phantoms({{"pretraining", {{"fold", "all"}}}, {"folds", {0, 2}}}), {});
  for (const char* fold : {"0", "2"}) {
    const Job& tuned = job_named(jobs, std::string("fine-tune-default-") + fold);
    EXPECT_TRUE(
        has_pair(tuned, "--pretrained",
                 "models/pretrained/default/nnunet__dice-bce__3d_fullres/fold_all/checkpoint_final.safetensors"));
    EXPECT_EQ(tuned.needs, (std::vector<std::string>{"preprocess-private", "pretrain-default-all"}));
  }
  EXPECT_EQ(job_named(jobs, "predict-default-scratch").needs,
            (std::vector<std::string>{"data-held-out", "scratch-default-0", "scratch-default-2"}));
}

TEST(study_jobs, a_folder_keeps_one_study) {
  const Path study = fresh("kept");
  prepare_study(phantoms(), study);
  EXPECT_NO_THROW(prepare_study(phantoms(), study));
  try {
    prepare_study(phantoms({{"training", {{"epochs", 3}}}}), study);
    FAIL() << "another study was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::usage);
    EXPECT_NE(std::string(e.what()).find("/training/epochs differs"), std::string::npos) << e.what();
  }
}

TEST(study_jobs, held_out_cases_of_the_private_set_leave_it) {
  const Path raw = brats_cases("raw", {"a", "b", "c"}), study = fresh("divided");
  const auto config = [&](const Json& cases) { return holding_out(raw, cases); };
  for (int again = 0; again < 2; ++again) {
    prepare_study(config({"b"}), study);
    EXPECT_EQ(ids_in(study / "data/private"), (std::vector<std::string>{"a", "c"}));
    const auto inputs = find_inputs(study / "data/held-out/imagesTr", {"T1C", "T1N", "T2F", "T2W"}, nullptr);
    ASSERT_EQ(inputs.size(), 1u);
    EXPECT_EQ(inputs[0].id, "b");
    EXPECT_EQ(read_text(inputs[0].images[2]), "b");
    EXPECT_EQ(find_labels(study / "data/held-out/labelsTr").size(), 1u);
  }
  fs::remove(raw / "a" / "a-t2w.nii.gz");
  EXPECT_THROW(prepare_study(config({"b"}), fresh("faulty")), Error);
}

TEST(study_jobs, what_is_refused_leaves_nothing_that_the_corrected_study_would_learn_from) {
  const Path raw = brats_cases("raw", {"a", "b", "c", "d"}), study = fresh("refused");
  const Path out = study / "out";
  for (const Json& cases : {Json{"a", "nobody"}, Json{"a", "b", "c", "d"}}) {
    EXPECT_THROW(prepare_study(holding_out(raw, cases), out), Error);
    EXPECT_FALSE(fs::exists(out));
  }
  // Links of a folder that is no study yet, such as a killed program leaves.
  for (const char* set : {"private", "held-out", "private.new"}) {
    make_folder(out / "data" / set / "labelsTr");
    for (const char* id : {"a", "b", "c", "d"})
      fs::create_symlink(raw / id / (std::string(id) + "-seg.nii.gz"),
                         out / "data" / set / "labelsTr" / (std::string(id) + ".nii.gz"));
  }
  prepare_study(holding_out(raw, {"b", "c"}), out);
  EXPECT_EQ(ids_in(out / "data/private"), (std::vector<std::string>{"a", "d"}));
  EXPECT_EQ(ids_in(out / "data/held-out"), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(find_labels(out / "data/private/labelsTr").size(), 2u);
  EXPECT_EQ(find_labels(out / "data/held-out/labelsTr").size(), 2u);
  EXPECT_FALSE(fs::exists(out / "data/private.new"));
}

TEST(study_jobs, files_that_no_study_made_are_not_lost) {
  const Path raw = brats_cases("raw", {"a", "b"}), out = fresh("own");
  make_folder(out / "data/private/labelsTr");
  write_text(out / "data/private/labelsTr/mine.nii.gz", "mine");
  EXPECT_THROW(prepare_study(holding_out(raw, {"b"}), out), Error);
  EXPECT_EQ(read_text(out / "data/private/labelsTr/mine.nii.gz"), "mine");
  EXPECT_FALSE(fs::exists(out / "study.json"));
}

TEST(study_jobs, scans_of_one_patient_stay_together) {
  const Path raw = brats_cases("raw", {"BraTS-MET-00012-000", "BraTS-MET-00012-001", "BraTS-MET-00013-000"});
  EXPECT_THROW(prepare_study(holding_out(raw, {"BraTS-MET-00012-001"}), fresh("apart")), Error);
  EXPECT_NO_THROW(prepare_study(holding_out(raw, {"BraTS-MET-00012-000", "BraTS-MET-00012-001"}), fresh("together")));
}

TEST(study_jobs, links_have_the_numbers_of_many_sequences) {
  const Path raw = fresh("sequences"), out = fresh("eleven");
  Json names = Json::object();
  for (const char* folder : {"imagesTr", "labelsTr"}) make_folder(raw / folder);
  for (size_t s = 0; s < 11; ++s) {
    names[std::to_string(s)] = "s" + std::to_string(s);
    for (const char* id : {"a", "b"}) write_text(raw / "imagesTr" / (id + channel_suffix(s) + ".nii.gz"), id);
  }
  for (const char* id : {"a", "b"}) write_text(raw / "labelsTr" / (std::string(id) + ".nii.gz"), id);
  write_json(raw / "dataset.json", {{"channel_names", names},
                                    {"labels", {{"background", 0}, {"lesion", 1}}},
                                    {"numTraining", 2},
                                    {"file_ending", ".nii.gz"}});
  prepare_study(holding_out(raw, {"b"}), out);
  EXPECT_TRUE(fs::exists(out / "data/private/imagesTr/a_0010.nii.gz"));
  EXPECT_EQ(ids_in(out / "data/private"), (std::vector<std::string>{"a"}));
}

TEST(study_jobs, data_of_a_study_that_runs_are_not_touched) {
  const Path raw = brats_cases("raw", {"a", "b"}), out = fresh("running");
  const StudyConfig config = holding_out(raw, {"b"});
  prepare_study(config, out);
  fs::remove(out / "data/private/labelsTr/a.nii.gz");
  {
    const StudyLock running(out);
    EXPECT_THROW(prepare_study(config, out), Error);
    EXPECT_FALSE(fs::exists(out / "data/private/labelsTr/a.nii.gz"));
  }
  prepare_study(config, out);
  EXPECT_TRUE(fs::exists(out / "data/private/labelsTr/a.nii.gz"));
}

TEST(study_jobs, words_survive_the_shell) {
  EXPECT_EQ(shell_quoted("data/public"), "data/public");
  EXPECT_EQ(shell_quoted("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(command_text({"x", "x", {"plan", "my raw"}, {}, "y"}), "metvox plan 'my raw'");
}

TEST(study_jobs, slurm_waits_for_stages_or_for_the_like_number) {
  const Path study = fresh("slurm");
  write_slurm(study_jobs(phantoms(), {}), {{"plan-private", size_t{500} << 20}, {"report", 1}}, study, "/opt/metvox");
  std::string submit = read_text(study / "slurm/submit.sh");
  EXPECT_NE(
      submit.find("fine_tune=$(submit ${COMPUTE_OPTIONS:-} \"--dependency=afterok:$preprocess,aftercorr:$pretrain\""),
      std::string::npos)
      << submit;
  const std::string tuning = read_text(study / "slurm/fine-tune.sbatch");
  const auto has_line = [&](const char* stage, const char* wanted) {
    return read_text(study / "slurm" / (std::string(stage) + ".sbatch")).find(wanted) != std::string::npos;
  };
  EXPECT_TRUE(has_line("plan-private", "\n#SBATCH --mem=768M\n"));  // 750 in steps of 256
  EXPECT_TRUE(has_line("report", "\n#SBATCH --mem=256M\n"));
  EXPECT_FALSE(has_line("fine-tune", "--mem"));
  EXPECT_NE(tuning.find("#SBATCH --array=0-14\n"), std::string::npos);
  EXPECT_NE(tuning.find("  7) needs='preprocess-private pretrain-tverskybce-2' run fine-tune-tverskybce-2 train "
                        "preprocessed/private --fold 2"),
            std::string::npos);
  write_slurm(study_jobs(phantoms({{"pretraining", {{"fold", "all"}}}}), {}), {}, study, "/opt/metvox");
  submit = read_text(study / "slurm/submit.sh");
  EXPECT_NE(submit.find("afterok:$preprocess,afterok:$pretrain"), std::string::npos) << submit;
  EXPECT_EQ(submit.find("aftercorr:$pretrain"), std::string::npos);
}

TEST(study_jobs, a_failure_leaves_only_what_needs_it) {
  using enum JobState;
  const Path study = fresh("runner");
  make_folder(study / "jobs");
  std::vector<Job> jobs{shell("a", "echo said; echo a > a.txt", {}), shell("b", "exit 3", {}),
                        shell("c", "echo c > c.txt", {"b"}),         shell("d", "echo d > d.txt", {"a"}),
                        shell("e", "echo e > e.txt", {"c"}),         shell("f", "true", {})};
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{done, failed, left_out, done, left_out, failed}));
  EXPECT_EQ(read_text(study / "jobs/a.log"), "said\n");
  jobs[1] = shell("b", "echo b > b.txt", {});
  jobs[5] = shell("f", "echo f > f.txt", {});
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{kept, done, done, kept, done, done}));
  fs::remove(study / "d.txt");  // the note alone is no output
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{kept, kept, kept, done, kept, kept}));
}

TEST(study_jobs, one_fold_has_nobody_to_differ_from) {
  const std::vector<Job> jobs = study_jobs(phantoms({{"folds", {"all"}}}), {});
  EXPECT_TRUE(std::none_of(jobs.begin(), jobs.end(), [](const Job& j) { return j.arguments[0] == "explain"; }));
}

TEST(study_jobs, what_leaves_out_cases_serves_those_that_need_it_and_is_tried_again) {
  using enum JobState;
  const Path study = fresh("partial");
  make_folder(study / "jobs");
  std::vector<Job> jobs{shell("a", "echo a > a.txt; exit 5", {}), shell("b", "cat a.txt >> b.txt", {"a"}),
                        shell("c", "echo c > c.txt; exit 5", {})};
  jobs[0].may_be_partial = true;
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{partial, done, failed}));
  EXPECT_TRUE(fs::exists(study / "jobs/a.partial"));
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{partial, done, failed}));
  jobs[0].arguments[1] = "echo mended > a.txt";
  jobs[2].arguments[1] = "echo c > c.txt";
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{done, done, done}));
  EXPECT_FALSE(fs::exists(study / "jobs/a.partial"));
  EXPECT_EQ(read_text(study / "b.txt"), "a\na\nmended\n");
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{kept, kept, kept}));
  write_text(study / "jobs/b.done", "1\n");  // as if a run had been killed between a and b
  EXPECT_EQ(states(jobs, study), (std::vector<JobState>{kept, done, kept}));
}

TEST(study_jobs, make_and_slurm_take_what_left_out_cases_too) {
  const Path study = fresh("partial-files");
  make_folder(study / "jobs");
  std::vector<Job> jobs{shell("a", "echo a > a.txt; exit 5", {}), shell("b", "cat a.txt >> b.txt", {"a"})};
  jobs[0].may_be_partial = true;
  jobs[1].stage = "after";
  write_makefile(jobs, study, "/bin/sh");
  write_slurm({jobs[0]}, {}, study, "/bin/sh");
  const std::string folder = shell_quoted(study);
  const auto run = [&](const std::string& command) { return std::system((command + " > /dev/null 2>&1").c_str()); };
  for (const char* expected : {"a\n", "a\na\n"}) {
    EXPECT_EQ(run("make -C " + folder), 0);
    EXPECT_TRUE(fs::exists(study / "jobs/a.partial"));
    EXPECT_EQ(read_text(study / "b.txt"), expected);  // tried again, and what needs it too
  }
  const std::string task = "cd " + folder + " && SLURM_SUBMIT_DIR=. SLURM_ARRAY_TASK_ID=0 bash slurm/shell.sbatch";
  fs::remove(study / "jobs/a.done");
  EXPECT_EQ(run(task), 0);
  EXPECT_TRUE(fs::exists(study / "jobs/a.done"));
  EXPECT_TRUE(fs::exists(study / "jobs/a.partial"));
  jobs[0].arguments[1] = "echo a > a.txt";
  write_slurm({jobs[0]}, {}, study, "/bin/sh");
  EXPECT_EQ(run(task), 0);  // tried again, though it was done but for some cases
  EXPECT_FALSE(fs::exists(study / "jobs/a.partial"));
  write_text(study / "jobs/a.partial", "1\n");
  write_makefile(jobs, study, "/bin/sh");
  EXPECT_EQ(run("make -C " + folder), 0);
  EXPECT_FALSE(fs::exists(study / "jobs/a.partial"));
  jobs[0].arguments[1] = "exit 4";
  write_slurm({jobs[0]}, {}, study, "/bin/sh");
  fs::remove(study / "jobs/a.done");
  EXPECT_NE(run(task), 0);
  EXPECT_FALSE(fs::exists(study / "jobs/a.done"));
}

TEST(study_jobs, one_run_at_a_time) {
  const Path study = fresh("locked");
  make_folder(study / "jobs");
  const std::vector<Job> jobs{shell("a", "echo a > a.txt", {})};
  const RunEvents twice{[&](const Job&) { EXPECT_THROW(states(jobs, study), Error); },
                        [](const Job&, const JobResult&) {}};
  EXPECT_EQ(run_jobs(jobs, study, "/bin/sh", twice).front().state, JobState::done);
}

TEST(study_jobs, a_job_is_run_by_one_at_a_time) {
  const Path study = fresh("at a job");
  make_folder(study / "jobs");
  const std::vector<Job> jobs{shell("a", "echo a > a.txt", {})};
  write_makefile(jobs, study, "/bin/sh");
  const std::string make = "make -C " + shell_quoted(study) + " > /dev/null 2> " + shell_quoted(study / "said");
  {
    const int other = open((study / "jobs/a.log").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    ASSERT_EQ(flock(other, LOCK_EX), 0);
    EXPECT_THROW(states(jobs, study), Error);
    EXPECT_NE(std::system(make.c_str()), 0);
    EXPECT_NE(read_text(study / "said").find("another run is at this job"), std::string::npos);
    EXPECT_FALSE(fs::exists(study / "a.txt"));
    EXPECT_FALSE(fs::exists(study / "jobs/a.begun"));
    close(other);
  }
  EXPECT_EQ(std::system(make.c_str()), 0);
  EXPECT_TRUE(fs::exists(study / "a.txt"));
}

}  // namespace metvox
