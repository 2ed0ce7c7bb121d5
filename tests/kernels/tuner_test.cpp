// SPDX-License-Identifier: Apache-2.0
#include "kernels/tuner.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "kernels/kernels_digest.h"
#include "kernels/sim/capture.h"
#include "kernels/trial_guard.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

// A path in a folder that is not there yet.
std::string new_path(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / sentence("metvox_tuner_", getpid(), "_", name);
  fs::remove_all(folder);
  return folder / "tuner.tsv";
}
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

// Of the process: nothing that these tests choose may reach the user's own file.
const bool kOff = setenv("METVOX_TUNER_CACHE", "off", 1) == 0;

struct Fake {
  std::string name;
  Measured is;
  int* calls = nullptr;
  Candidate candidate() const {
    return {name, [*this](double) {
              if (calls) ++*calls;
              return is;
            }};
  }
};
std::vector<Candidate> candidates(const std::vector<Fake>& fakes) {
  std::vector<Candidate> all;
  for (const Fake& f : fakes) all.push_back(f.candidate());
  return all;
}
const TrialRules kLimit{.largest_error = 1e-2};

std::string told_by(const std::function<void()>& work) {
  testing::internal::CaptureStderr();
  work();
  return testing::internal::GetCapturedStderr();
}

}  // namespace

TEST(tuner, takes_the_fastest_of_the_right) {
  TunerCache cache("");
  EXPECT_EQ(fastest(cache, "a", candidates({{"slow", {1e-3, 5}}, {"quick", {1e-3, 2}}, {"middle", {0, 3}}}), kLimit),
            1u);
}

TEST(tuner, a_wrong_one_never_wins_and_is_told) {
  TunerCache cache("");
  const auto all = candidates({{"native", {1e-3, 5}}, {"wrong", {0.5, 1}}, {"nan", {std::nan(""), 1}}});
  const std::string told = told_by([&] { EXPECT_EQ(fastest(cache, "a", all, kLimit), 0u); });
  EXPECT_NE(told.find("wrong: 0.5"), std::string::npos) << told;
  EXPECT_NE(told.find("nan: "), std::string::npos) << told;
  EXPECT_EQ(cache.find("a"), "native");
}

TEST(tuner, none_right_is_the_first_and_not_kept) {
  TunerCache cache("");
  const auto all = candidates({{"native", {0.1, 5}}, {"wrong", {0.5, 1}}});
  const std::string told = told_by([&] { EXPECT_EQ(fastest(cache, "a", all, kLimit), 0u); });
  EXPECT_NE(told.find("check the device"), std::string::npos) << told;
  EXPECT_EQ(cache.find("a"), std::nullopt);
}

TEST(tuner, one_that_fails_is_passed_over) {
  TunerCache cache("");
  std::vector<Candidate> all{{"fails", [](double) -> Measured { fail(Fault::internal, "no such plan"); }}};
  all.push_back(Fake{"works", {0, 9}}.candidate());
  EXPECT_EQ(fastest(cache, "a", all, kLimit), 1u);
}

TEST(tuner, without_memory_for_a_trial_the_first_is_taken) {
  TunerCache cache("");
  std::vector<Candidate> all{{"native", [](double) -> Measured { fail(Fault::memory, "none left"); }}};
  all.push_back(Fake{"other", {0, 9}}.candidate());
  EXPECT_EQ(fastest(cache, "a", all, kLimit), 0u);
  EXPECT_EQ(cache.find("a"), std::nullopt);
}

TEST(tuner, later_ones_learn_how_fast_the_best_is) {
  TunerCache cache("");
  double told = 0;
  std::vector<Candidate> all = candidates({{"first", {0, 3}}, {"wrong", {1, 1}}});
  all.push_back({"last", [&](double best_ms) {
                   told = best_ms;
                   return Measured{0, 4};
                 }});
  told_by([&] { fastest(cache, "a", all, kLimit); });
  EXPECT_EQ(told, 3);
}

TEST(tuner, tries_once_and_the_next_process_not_at_all) {
  const std::string path = new_path("once");
  int calls = 0;
  const auto all = candidates({{"a", {0, 2}, &calls}, {"b", {0, 1}, &calls}});
  for (int i = 0; i < 2; ++i) {
    TunerCache cache(path);
    EXPECT_EQ(fastest(cache, "key one", all, kLimit), 1u);
    EXPECT_EQ(fastest(cache, "key one", all, kLimit), 1u);
  }
  EXPECT_EQ(calls, 2);
  TunerCache cache(path);
  EXPECT_EQ(fastest(cache, "key two", all, kLimit), 1u);
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(fastest(cache, "key one", std::span(all).first(1), kLimit), 0u);  // b is there no more
  EXPECT_EQ(calls, 5);
}

namespace {

// Two candidates, of which the first is quick and ends in a way of its own.
std::vector<Candidate> with_one_that(std::function<Measured(double)> ends) {
  return {{"quick", std::move(ends)}, Fake{"slow", {0, 9}}.candidate()};
}
// What a process finds that is started after one that ended over "quick".
void expect_left_out(const std::string& path, const std::string& key) {
  for (int start = 0; start < 2; ++start) {
    TunerCache cache(path);
    int calls = 0;
    const auto all = candidates({{"quick", {0, 1}, &calls}, {"slow", {0, 9}}});
    const std::string told = told_by([&] { EXPECT_EQ(fastest(cache, key, all, kLimit), 1u); });
    EXPECT_EQ(calls, 0);
    if (start > 0) continue;  // it finds "slow" in the file
    EXPECT_NE(told.find("quick is left out for " + key), std::string::npos) << told;
    EXPECT_NE(told.find(path), std::string::npos) << told;
  }
  TunerCache cache(path);
  EXPECT_EQ(fastest(cache, "another " + key, candidates({{"quick", {0, 1}}, {"slow", {0, 9}}}), kLimit), 0u);
}

}  // namespace

TEST(tuner, one_that_breaks_the_device_is_left_out_by_the_next_process) {
  const std::string path = new_path("breaks");
  bool works = true;
  TrialRules rules = kLimit;
  rules.check_device = [&] {
    if (!works) fail(Fault::internal, "an illegal memory access was encountered");
  };
  const auto all = with_one_that([&](double) -> Measured {
    works = false;
    fail(Fault::internal, "cudaStreamSynchronize failed");
  });
  TunerCache cache(path);
  try {
    fastest(cache, "key", all, rules);
    FAIL() << "goes on with a broken device";
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("quick broke the device while it was tried for key (an illegal memory"), std::string::npos)
        << text;
  }
  expect_left_out(path, "key");
}

TEST(tuner, one_that_never_comes_back_ends_the_process_and_is_left_out_by_the_next) {
  const std::string path = new_path("hangs");
  TrialRules rules = kLimit;
  rules.seconds = 0.02;
  const auto all = with_one_that([](double) -> Measured {
    for (;;) pause();
  });
  const auto run = [&] {
    TunerCache cache(path);
    fastest(cache, "key", all, rules);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(1), "quick did not come back within 0.02 s for key; metvox ends here");
  expect_left_out(path, "key");
}

TEST(tuner, one_that_takes_the_process_down_is_left_out_by_the_next) {
  const std::string path = new_path("dies");
  const auto all = with_one_that([](double) -> Measured { raise(SIGKILL), abort(); });
  const auto run = [&] {
    TunerCache cache(path);
    fastest(cache, "key", all, kLimit);
  };
  EXPECT_EXIT(run(), testing::KilledBySignal(SIGKILL), "");
  expect_left_out(path, "key");
}

TEST(tuner, one_during_which_the_user_ends_the_process_is_tried_again) {
  const std::string path = new_path("interrupted");
  const auto all = with_one_that([](double) -> Measured {
    clear_trial_mark();  // as the program's handler of signals does
    _exit(130);
  });
  const auto run = [&] {
    TunerCache cache(path);
    fastest(cache, "key", all, kLimit);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(130), "");
  TunerCache cache(path);
  EXPECT_EQ(fastest(cache, "key", candidates({{"quick", {0, 1}}, {"slow", {0, 9}}}), kLimit), 0u);
}

TEST(tuner, where_all_are_left_out_it_says_so) {
  TunerCache cache("");
  cache.leave_out("key", "quick");
  cache.leave_out("key", "slow");
  const auto all = candidates({{"quick", {0, 1}}, {"slow", {0, 9}}});
  told_by([&] { EXPECT_THROW(fastest(cache, "key", all, kLimit), Error); });
}

TEST(tuner_cache, keeps_what_another_process_wrote_meanwhile) {
  const std::string path = new_path("two");
  TunerCache one(path), two(path);
  EXPECT_EQ(one.find("x"), std::nullopt);
  two.put("y", "native", 1);
  one.put("x", "cudnn eng3 k2=1", 0.25);
  TunerCache later(path);
  EXPECT_EQ(later.find("x"), "cudnn eng3 k2=1");
  EXPECT_EQ(later.find("y"), "native");
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(path).parent_path()), {}), 1);  // no temporary is left
}

TEST(tuner_cache, a_damaged_file_is_told_not_used_and_replaced) {
  const std::string head = "# metvox tuner 2: key, engine, ms or left out\n";
  const std::string damaged[] = {"",
                                 "something else\n",
                                 head + "key\tnative\n",
                                 head + "key\tnative\tsoon\n",
                                 head + "key\tnative\t-1\n",
                                 head + "key\tnat\x01ive\t1\n",
                                 head + "\tnative\t1\n",
                                 head + "good\tnative\t1\nkey\tnative\t1\t2\n",
                                 head + "good\tnative\t1\nkey\tnative\t\n",
                                 head + "good\tnative\t1\nkey\t\tleft out\n",
                                 std::string(17 << 20, 'x')};
  for (const std::string& text : damaged) {
    const std::string path = new_path("damaged");
    write(path, text);
    TunerCache cache(path);
    const std::string told = told_by([&] { EXPECT_EQ(cache.find("good"), std::nullopt); });
    EXPECT_NE(told.find(path), std::string::npos) << text.substr(0, 80);
    told_by([&] { cache.put("new", "native", 1); });
    TunerCache later(path);
    EXPECT_EQ(told_by([&] { EXPECT_EQ(later.find("new"), "native"); }), "");
  }
}

TEST(tuner_cache, a_place_that_cannot_be_written_costs_nothing) {
  const std::string path = new_path("no_folder");
  write(path, "a file");
  TunerCache cache(path + "/deeper/tuner.tsv");
  cache.put("x", "native", 1);
  EXPECT_EQ(cache.find("x"), "native");
  EXPECT_EQ(text_of(path), "a file");
}

TEST(tuner_cache, lies_where_the_environment_says) {
  ASSERT_TRUE(kOff);
  EXPECT_EQ(tuner_cache_path(), "");
  setenv("METVOX_TUNER_CACHE", "/some/file", 1);
  EXPECT_EQ(tuner_cache_path(), "/some/file");
  unsetenv("METVOX_TUNER_CACHE");
  const char* had = std::getenv("XDG_CACHE_HOME");
  const std::string before = had ? had : "";
  setenv("XDG_CACHE_HOME", "/caches", 1);
  EXPECT_EQ(tuner_cache_path(), "/caches/metvox/tuner.tsv");
  unsetenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  EXPECT_EQ(tuner_cache_path(), home ? std::string(home) + "/.cache/metvox/tuner.tsv" : "");
  if (had) setenv("XDG_CACHE_HOME", before.c_str(), 1);
  setenv("METVOX_TUNER_CACHE", "off", 1);
}

namespace {

// A table whose kernels know how fast and how wrong they are.
struct Problem {
  int size = 0;
  DType dtype = DType::f32;
  Device device{};
  bool tf32 = false;
  std::string describe() const { return sentence("size ", size); }
};
struct Kernel {
  std::string way;
  Measured is;
};
int trials_made = 0;
Trial<Kernel> trial_of(const Problem&) {
  ++trials_made;
  return [](const Kernel& k, double) { return k.is; };
}
template <int ms>
std::unique_ptr<Kernel> make(const Problem&) {
  return std::make_unique<Kernel>(Kernel{"only", {0, ms}});
}
std::unique_ptr<Kernel> make_way(const Problem& p, const std::string& way) {
  if (way == "broken") fail(Fault::internal, "no such plan");
  return std::make_unique<Kernel>(Kernel{way, {way == "wrong" ? 1.0 : 0.0, p.size == 2 && way == "deep" ? 1.0 : 8.0}});
}
std::vector<std::string> ways(const Problem&) { return {"broken", "wrong", "deep", "flat"}; }
std::optional<std::string> declines_large(const Problem& p) {
  return p.size > 9 ? std::optional<std::string>("too large") : std::nullopt;
}
std::string_view to_vendor(const Problem&) { return "vendor"; }

using Table = EngineTable<Problem, Kernel>;
const Table table("sum",
                  {{"native", Device::Kind::cpu, never<Problem>, make<5>, to_vendor},
                   {"plain", Device::Kind::cpu, never<Problem>, make<6>},
                   {"vendor-any", Device::Kind::cpu, never<Problem>, make<1>},
                   {"vendor", Device::Kind::cpu, declines_large, make<7>, nullptr, ways, make_way}},
                  Table::Trials{Device::Kind::cpu, choose_by_trial<trial_of, Problem, Kernel>});

}  // namespace

TEST(tuner, an_engine_table_chooses_among_engines_and_their_ways) {
  std::string told;
  const auto prepare = [&](int size, const char* engine) {
    Table::Choice choice;
    told = told_by([&] { choice = table.prepare({size}, {.device = {}, .dtype = DType::f32, .engine = engine}); });
    return sentence(choice.engine, ' ', choice.kernel->way);
  };
  EXPECT_EQ(prepare(1, ""), "native only");
  EXPECT_NE(told.find("vendor wrong: 1"), std::string::npos) << told;
  EXPECT_EQ(prepare(2, ""), "vendor deep");
  EXPECT_EQ(prepare(11, ""), "native only");
  const int before = trials_made;
  EXPECT_EQ(prepare(2, ""), "vendor deep");
  EXPECT_EQ(prepare(11, ""), "native only");
  EXPECT_EQ(prepare(1, "plain"), "plain only");            // nothing to choose from
  EXPECT_EQ(prepare(1, "vendor-any"), "vendor-any only");  // a rival, though the fastest, is taken by name alone
  EXPECT_EQ(trials_made, before);
  EXPECT_EQ(prepare(4, "vendor"), "vendor deep");  // one engine by name, the best of its ways
  EXPECT_EQ(trials_made, before + 1);
}

TEST(tuner, times_runs_in_turn) {
  constexpr int kTurns = 7;
  Stream stream;
  std::vector<int> seen;
  const auto run = [&](int i) { seen.push_back(i); };
  EXPECT_GE(time_runs(stream, run, 1e9, kTurns), 0);
  int batches = 0, runs = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    runs = seen[i] == 0 ? 1 : runs + 1;
    ASSERT_EQ(seen[i], runs - 1);
    if (i + 1 < seen.size() && seen[i + 1] != 0) continue;
    EXPECT_TRUE(++batches <= 2 || runs % kTurns == 0) << runs;  // the first two warm up
  }
  EXPECT_GT(batches, 2);
  EXPECT_GT(seen.size(), 100u);
  seen.clear();
  time_runs(stream, run, -1);
  EXPECT_LT(seen.size(), 10u);  // given up
}

// What is timed on a GPU is what training gives it: recorded work.
TEST(tuner, times_recorded_runs_on_a_gpu) {
  Stream stream({Device::Kind::sim});
  const simt::Counts before = simt::counts();
  int calls = 0;
  EXPECT_GE(time_runs(
                stream, [&](int) { ++calls; }, 1e9),
            0);
  EXPECT_EQ(simt::counts().replayed - before.replayed, 3);
  EXPECT_GT(calls, 3);
}

TEST(tuner, the_place_names_what_a_choice_depends_on) {
  const std::string cpu = tuner_place({}), sim = tuner_place({Device::Kind::sim});
  EXPECT_NE(cpu, sim);
  EXPECT_NE(cpu.find("metvox "), std::string::npos) << cpu;
  EXPECT_NE(sim.find(sentence(" kernels ", kKernelsDigest)), std::string::npos) << sim;
  EXPECT_EQ(std::string(kKernelsDigest).size(), 12u);
  EXPECT_NE(sim.find("sm_90"), std::string::npos) << sim;
}

}  // namespace metvox
