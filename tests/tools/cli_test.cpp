// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <pty.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "io/json.h"
#include "tests/tools/subprocess.h"

namespace metvox {

namespace {

// Verbs as `metvox --help` lists them, in its order.
std::vector<std::string> listed_verbs(const std::string& help) {
  std::vector<std::string> verbs;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("  ") && line[2] >= 'a' && line[2] <= 'z')
      verbs.push_back(line.substr(2, line.find(' ', 2) - 2));
  return verbs;
}

// What the program says on a terminal of so many columns.
std::string on_terminal(std::vector<std::string> arguments, size_t columns) {
  winsize size{24, static_cast<unsigned short>(columns), 0, 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  EXPECT_GE(pid, 0);
  if (pid == 0) {
    std::vector<char*> argv{const_cast<char*>(METVOX_PROGRAM)};
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(METVOX_PROGRAM, argv.data());
    _exit(127);
  }
  std::string text;
  char part[4096];
  for (ssize_t n = 0; (n = read(terminal, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << text;
  close(terminal);
  return text;
}

// Of what is written between two ends of a line, or over a line from its begin.
size_t longest_line(const std::string& text) {
  size_t longest = 0, length = 0;
  for (const char c : text) {
    length = c == '\n' || c == '\r' ? 0 : length + 1;
    longest = std::max(longest, length);
  }
  return longest;
}

}  // namespace

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
  }
  const std::vector<std::string> verbs = listed_verbs(help.out);
  EXPECT_GT(verbs.size(), 15u);
  for (const std::string& verb : verbs) {
    const Outcome o = metvox_run({verb, "--help"});
    EXPECT_EQ(o.code, 0) << verb;
    EXPECT_TRUE(begins(o.out, "Example:\n  metvox " + verb)) << verb;
    EXPECT_TRUE(says(o.out, "-h, --help")) << verb;
  }
}

TEST(cli, options_have_one_name_in_all_verbs) {
  for (const std::string& verb : listed_verbs(metvox_run({"--help"}).out)) {
    const std::string help = metvox_run({verb, "--help"}).out;
    for (const auto& [letter, name] : {std::pair{"-o", "--out "}, {"-i", "--input "}, {"-m", "--model "}}) {
      const size_t at = help.find(sentence("\n  ", letter, ", "));
      if (at == std::string::npos) continue;
      EXPECT_EQ(help.find(name, at), at + std::strlen("\n  -o, ")) << verb;
    }
  }
}

TEST(cli, a_narrow_terminal_is_not_overrun) {
  EXPECT_GT(longest_line(metvox_run({"predict", "--help"}).out), 80u);
  for (const size_t columns : {60, 90}) {
    const std::string help = on_terminal({"predict", "--help"}, columns);
    const std::string options = help.substr(help.find("\n  -i, --input"));
    EXPECT_LE(longest_line(options), columns) << options;
  }
  const std::string wiped = "\033[K";
  for (const size_t columns : {12, 40, 200}) {
    const Path out = fresh_folder("out" + std::to_string(columns));
    const std::string bar = on_terminal({"phantom", "--out", out, "--size", "32x40x32"}, columns);
    const std::string shown = bar.substr(0, bar.find('\n'));
    EXPECT_TRUE(says(shown, wiped + "phantom"));
    EXPECT_EQ(shown.find('[', shown.rfind(wiped) + wiped.size()) != std::string::npos, columns > 12) << shown;
    EXPECT_LT(longest_line(shown), columns + wiped.size()) << shown;
  }
}

TEST(cli, help_shows_both_names_of_an_option) {
  const std::string help = metvox_run({"predict", "--help"}).out;
  EXPECT_TRUE(says(help, "Usage: metvox predict -i|--input DIR -o|--out DIR -m|--model DIR [options]"));
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
      {{"training"}, "did you mean train?"},
      {{"help"}, "did you mean --help?"},
      {{"--versoin"}, "there is no option \"--versoin\"; did you mean --version?"},
      {{"--quiet", "predict"}, "the verbs, which come first"},
      {{"predict", "--output", "x"}, "there is no option --output; did you mean --out?"},
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

// Else the first file that is opened would get its number, and messages.
TEST(cli, a_closed_stream_stays_closed_to_files) {
  Subprocess process{{"check", "/proc/self/fd/2"}};
  process.close_err = true;
  process.start();
  const Outcome o = process.wait();
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.out, "fault: "));
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
