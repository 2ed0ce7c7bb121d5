// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "segmentation/data/case_fault.h"
#include "segmentation/study/compare.h"
#include "tools/cli.h"

namespace metvox {
namespace {

// MODEL:REGIME=FILE. A model's name may not hold '=', a file's may.
ScoreFile score_file(const std::string& text) {
  const size_t equals = text.find('='), colon = text.rfind(':', equals);
  if (equals == std::string::npos || colon == std::string::npos || colon == 0 || equals + 1 == text.size())
    fail(Fault::usage, "--scores: \"", text, "\" is not of the form MODEL:REGIME=FILE.csv");
  const std::string regime = text.substr(colon + 1, equals - colon - 1);
  for (const Regime known : {Regime::fine_tuned, Regime::scratch})
    if (regime == name_of(known)) return {text.substr(0, colon), known, text.substr(equals + 1)};
  fail(Fault::usage, "--scores: \"", regime, "\" in \"", text, "\" is not a regime; there are fine-tuned, scratch");
}

std::vector<ScoreFile> score_files(const std::vector<std::string>& texts, const std::string& reference) {
  std::vector<ScoreFile> files;
  for (const std::string& text : texts) {
    files.push_back(score_file(text));
    if (files.back().model == "pooled") fail(Fault::usage, "--scores: pooled is what all models together are called");
    for (size_t i = 0; i + 1 < files.size(); ++i)
      if (files[i].system() == files.back().system())
        fail(Fault::usage, "--scores: ", files[i].system(), " is given twice: ", files[i].path.string(), ", ",
             files.back().path.string());
  }
  const auto is_reference = [&](const ScoreFile& f) { return f.model == reference && f.regime == Regime::fine_tuned; };
  if (!reference.empty() && std::none_of(files.begin(), files.end(), is_reference))
    fail(Fault::usage, "--reference: --scores has no ", reference, ":fine-tuned");
  return files;
}

std::string fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

int digits_of(const std::string& metric) {
  return lower_is_better(metric) ? 3 : metric.starts_with("Specificity") ? 6 : 4;
}

std::string interval(const Interval& i, int digits) {
  return "[" + fixed(i.low, digits) + ", " + fixed(i.high, digits) + "]";
}

// A line a system and metric; volumes are in descriptive.csv alone.
void print_means(const StudyComparison& c) {
  std::string system;
  for (const Descriptive& d : c.descriptive) {
    if (d.metric.find("_volume_") != std::string::npos) continue;
    if (d.system != system)
      std::printf("\n%s\n  %-16s %4s %8s %8s   %s\n", d.system.c_str(), "", "n", "mean", "std", "95 % of the mean");
    system = d.system;
    const int digits = digits_of(d.metric);
    std::printf("  %-16s %4lld %8s %8s   %s\n", d.metric.c_str(), static_cast<long long>(d.n),
                fixed(d.mean, digits).c_str(), fixed(d.std_population, digits).c_str(),
                interval(d.ci95, digits).c_str());
  }
}

void print_test(const PairTest& t, bool paired) {
  const int digits = digits_of(t.metric);
  const std::string better = std::to_string(t.a_better_cases) + "/" + std::to_string(t.n_cases);
  std::printf("  %-16s %10s %10s %9s  %9s %8s", t.metric.c_str(), fixed(t.mean_a, digits).c_str(),
              fixed(t.mean_b, digits).c_str(), better.c_str(), name_of(t.alternative).c_str(),
              fixed(t.result.p_value, 4).c_str());
  if (paired)
    std::printf(" %8s%c  %8s %-18s %8s", fixed(t.p_holm, 4).c_str(), t.p_holm < 0.05 ? '*' : ' ',
                fixed(t.mean_difference, digits).c_str(), interval(t.difference95, digits).c_str(),
                fixed(t.detectable_difference, digits).c_str());
  std::printf("\n");
}

void print_tests(const StudyComparison& c) {
  const bool paired = c.mode == CompareMode::paired;
  std::string group;
  for (const PairTest& t : c.tests) {
    const bool models = t.comparison == "architecture";
    if (t.group != group)
      std::printf("\n%s: %s (%s)\n  %-16s %10s %10s %9s  %9s %8s%s\n", t.comparison.c_str(), t.group.c_str(),
                  t.test.c_str(), "", models ? "first" : "fine-tuned", models ? "second" : "scratch", "better", "is",
                  "p", paired ? "   p Holm   difference [95 %]         could show" : "");
    group = t.group;
    print_test(t, paired);
  }
  if (paired && !c.tests.empty())
    std::printf(
        "\n* p Holm below 0.05. Could show: the true difference that so many cases would have shown at 5 %% in 4 of 5 "
        "studies.\n");
}

void print_notes(const CommandLine& line, const std::vector<Note>& notes, const Path& out) {
  constexpr size_t most = 20;
  for (size_t i = 0; i < std::min(most, notes.size()); ++i) {
    const Note& n = notes[i];
    std::string about;
    for (const std::string& part : {n.system, n.sample, n.metric})
      if (!part.empty()) about += part + ": ";
    line.say("note: ", about, n.text);
  }
  if (notes.size() > most) line.say("note: ", notes.size() - most, " more; all are in ", (out / "notes.csv").string());
}

int run(CommandLine& line) {
  std::vector<std::string> texts;
  Path out;
  std::string mode = "paired", reference;
  line.option("scores", texts, "MODEL:REGIME=FILE.csv",
              "a scores.csv that evaluate wrote; REGIME is fine-tuned or scratch; repeatable", Need::required);
  line.option("out,o", out, "DIR",
              "folder for descriptive.csv, comparison.csv, effects.csv, omnibus.csv, challenging.csv, notes.csv, "
              "comparison.svg",
              Need::required);
  line.choice("mode", mode, {"paper", "paired"},
              "paired: Wilcoxon by case, in each metric's direction, Holm, bootstrap intervals; paper: as published");
  line.option("reference", reference, "MODEL", "compare this fine-tuned model with each other one");
  line.common({Common::seed, Common::json, Common::quiet});
  if (!line.parse()) return 0;

  const StudyScores scores = read_study_scores(score_files(texts, reference));
  const StudyComparison result =
      compare(scores, mode == "paper" ? CompareMode::paper : CompareMode::paired, reference, line.values().seed);
  write_comparison(result, out);
  print_notes(line, result.notes, out);
  line.say(counted(static_cast<int64_t>(scores.systems.size()), "system"), ", ", counted(result.cases, "case"),
           "; the tables are in ", out.string());
  if (line.values().json) {
    print_json(to_json(result));
  } else {
    print_means(result);
    print_tests(result);
  }
  return 0;
}

const VerbEntry entry{
    {"compare", Stage::results, "test whether fine-tuning helps, and which model is best",
     "metvox compare --scores nnunet:fine-tuned=ft/scores.csv nnunet:scratch=st/scores.csv --out stats", run}};

}  // namespace
}  // namespace metvox
