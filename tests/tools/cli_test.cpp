// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "io/json.h"
#include "tests/tools/subprocess.h"

namespace metvox {

TEST(cli, help_lists_the_verbs_and_each_verb_shows_an_example_first) {
  const Outcome help = metvox_run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  size_t last = 0;
  for (const std::string verb : {"phantom", "check", "plan", "preprocess", "train", "predict", "import", "export",
                                 "verify", "evaluate", "compare", "report", "inspect", "bench", "devices"}) {
    ASSERT_TRUE(says(help.out, "\n  " + verb + " "));
    EXPECT_GT(help.out.find("\n  " + verb + " "), last) << verb << " is not in the order of work";
    last = help.out.find("\n  " + verb + " ");
    const Outcome o = metvox_run({verb, "--help"});
    EXPECT_EQ(o.code, 0) << verb;
    EXPECT_TRUE(begins(o.out, "Example:\n  metvox " + verb)) << verb;
    EXPECT_TRUE(says(o.out, "-h, --help")) << verb;
  }
}

TEST(cli, help_shows_both_names_of_an_option) {
  const std::string help = metvox_run({"predict", "--help"}).out;
  EXPECT_TRUE(says(help, "Usage: metvox predict -i|--input DIR -o|--output DIR -m|--model DIR [options]"));
  EXPECT_TRUE(says(help, "\n  -i, --input DIR "));
}

TEST(cli, a_wrong_command_line_is_a_sentence_on_stderr_and_exit_2) {
  const struct {
    std::vector<std::string> arguments;
    std::string said;
  } cases[] = {
      {{}, "Usage: metvox VERB"},
      {{"phantmo"}, "there is no verb \"phantmo\"; did you mean phantom?"},
      {{"xyzzy"}, "there is no verb \"xyzzy\"; metvox --help"},
      {{"phantom", "--out", "x", "--caces", "3"}, "there is no option --caces; did you mean --cases?"},
      {{"phantom", "--out", "x", "-z"}, "there is no option -z"},
      {{"phantom"}, "--out is missing"},
      {{"phantom", "--out"}, "--out needs DIR"},
      {{"phantom", "--out", ""}, "--out: the path is empty"},
      {{"phantom", "--out", "x", "--out", "y"}, "--out is given twice"},
      {{"phantom", "--out", "x", "y"}, "\"y\" is one argument too many"},
      {{"phantom", "--out", "x", "--cases", "many"}, "--cases: \"many\" is not a whole number"},
      {{"phantom", "--out", "x", "--cases", "3.5"}, "--cases: \"3.5\" is not a whole number"},
      {{"phantom", "--out", "x", "--cases", "99999999999999999999"}, "out of range"},
      {{"phantom", "--out", "x", "--cases", "0"}, "--cases: 0 is not from 1 to 100000"},
      {{"phantom", "--out", "x", "--seed", "-1"}, "--seed: \"-1\""},
      {{"phantom", "--out", "x", "--domain", "secret"}, "not one of public, private"},
      {{"phantom", "--out", "x", "--size", "32x32"}, "not of the form"},
      {{"phantom", "--out", "x", "--json=3"}, "--json takes no value"},
      {{"phantom", "--out", "x", "--threads", "-2"}, "--threads: -2 is below 0"},
      {{"phantom", "--out", "x", "--threads", "100000"}, "--threads: 100000 is above 1024"},
      {{"plan", "raw", "--out", "x", "--patch-size", "16", "16"}, "--patch-size needs Z Y X"},
      {{"plan", "raw", "--out", "x", "--like", "p.json", "--batch-size", "2"}, "leave out --batch-size"},
      {{"bench", "nothing"}, "there is no benchmark \"nothing\"; the ops are"},
      {{"bench", "add", "--device", "cuda:x"}, "not one of auto, cpu, cuda, cuda:N"},
      {{"bench", "add", "--device", "tpu"}, "not one of auto, cpu, cuda"},
      {{"bench", "add", "--engine", "magic"}, "not an engine of the CPU; there are"},
      {{"bench", "add", "--precision", "f16"}, "f16"},
      {{"bench", "add", "--precision", "tf32"}, "--precision tf32: a CPU has no tf32"},
  };
  for (const auto& c : cases) {
    const Outcome o = metvox_run(c.arguments);
    EXPECT_EQ(o.code, 2) << c.said;
    EXPECT_EQ(o.out, "") << c.said;
    EXPECT_TRUE(says(o.err, c.said));
  }
}

TEST(cli, version_names_the_engines) {
  const Outcome o = metvox_run({"--version"});
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(begins(o.out, "metvox "));
  EXPECT_TRUE(says(o.out, "onednn"));
  EXPECT_TRUE(says(o.out, "reference"));
}

TEST(cli, devices_describe_the_machine_as_json) {
  const Outcome o = metvox_run({"devices", "--json", "--threads", "1"});
  ASSERT_EQ(o.code, 0);
  const Json cpu = Json::parse(o.out)["devices"][0];
  EXPECT_EQ(cpu["device"], "cpu");
  EXPECT_GE(cpu["cores"].get<int>(), 1);
  EXPECT_EQ(cpu["threads"], 1);
  EXPECT_TRUE(cpu["bf16"].is_boolean());
  EXPECT_TRUE(begins(cpu["isa"].get<std::string>(), "x86-64-v"));
}

TEST(cli, an_answer_that_cannot_be_written_is_an_error) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"devices"},
                                                                     {"devices", "--json"},
                                                                     {"--help"},
                                                                     {"--version"},
                                                                     {"train", "--help"},
                                                                     {"bench", "add", "--runs", "1"}}) {
    Subprocess process{arguments, 0, "/dev/full"};
    process.start();
    const Outcome o = process.wait();
    EXPECT_EQ(o.code, 3) << arguments[0];
    EXPECT_TRUE(says(o.err, "cannot write to standard output")) << arguments[0];
  }
}

TEST(cli, every_engine_can_be_named) {
  const Outcome o = metvox_run({"devices", "--json", "--threads", "1"});
  ASSERT_EQ(o.code, 0);
  const Json answer = Json::parse(o.out);
  std::vector<std::string> names;
  for (const Json& engine : answer["devices"][0]["engines"]) names.push_back(engine["name"]);
  for (const char* name : {"native", "onednn", "reference"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  EXPECT_EQ(names.back(), "reference");
}

TEST(cli, bench_verifies_then_times) {
  const Outcome o = metvox_run({"bench", "add", "--engine", "all", "--runs", "1", "--json", "--threads", "1"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json answer = Json::parse(o.out);
  EXPECT_TRUE(answer["failures"].empty());
  ASSERT_FALSE(answer["rows"].empty());
  for (const Json& row : answer["rows"]) {
    EXPECT_GT(row["forward_ms_min"].get<double>(), 0);
    EXPECT_TRUE(begins(row["reproduce"].get<std::string>(), "metvox bench add"));
  }
}

TEST(cli, bench_checks_speed_against_what_the_machine_reaches) {
  const Outcome o = metvox_run({"bench", "conv3d", "8>3 head 48^3", "--check", "--json"});
  EXPECT_EQ(o.code, 0) << o.err;  // below the ridge, however slow
  EXPECT_TRUE(says(o.err, "ceilings of cpu in "));
  EXPECT_EQ(metvox_run({"bench", "conv3d", "--check", "--engine", "reference"}).code, 2);
}

TEST(cli, bench_measures_ceilings_and_names_the_fastest) {
  const Outcome top = metvox_run({"bench", "ceilings", "--device", "sim", "--json"});
  ASSERT_EQ(top.code, 0) << top.err;
  EXPECT_GT(Json::parse(top.out)["gflops"].get<double>(), 0);
  const Outcome o =
      metvox_run({"bench", "conv3d", "8>3 head 48^3", "--check", "--runs", "1", "--json", "--precision", "f32"});
  const Json row = Json::parse(o.out)["rows"][0];
  EXPECT_GT(row["shares"]["forward_of_floor"].get<double>(), 0);
  EXPECT_GT(row["shares"]["backward_of_peak"].get<double>(), 0);
  const Outcome all = metvox_run({"bench", "add", "--engine", "all", "--runs", "1", "--json", "--precision", "f32"});
  const Json winners = Json::parse(all.out)["winners"];
  ASSERT_FALSE(winners.empty());
  EXPECT_TRUE(winners[0].contains("engine"));
}

TEST(cli, bench_times_workloads) {
  const Outcome o =
      metvox_run({"bench", "step", "8-16-32-64 48^3", "--check", "--runs", "1", "--json", "--precision", "f32"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json answer = Json::parse(o.out);
  ASSERT_EQ(answer["workloads"].size(), 1u);
  EXPECT_TRUE(answer["rows"].empty());
  const Json& row = answer["workloads"][0];
  EXPECT_GT(row["ms_min"].get<double>(), 0);
  EXPECT_GT(row["gflops"].get<double>(), 0);
  EXPECT_GT(row["of_floor"].get<double>(), 0);
  EXPECT_GT(row["arena_bytes"].get<int64_t>(), 0);
  EXPECT_TRUE(begins(row["reproduce"].get<std::string>(), "metvox bench step '8-16-32-64 48^3'"));
}

}  // namespace metvox
