// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/report.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

Json by_region(const std::array<double, 3>& values) {
  return {{"et", values[0]}, {"tc", values[1]}, {"wt", values[2]}};
}

Json by_region(const std::array<int64_t, 3>& values) {
  return {{"et", values[0]}, {"tc", values[1]}, {"wt", values[2]}};
}

Json to_json(const ReportNumbers& n, const Evaluation& result) {
  return {{"cases", n.cases},
          {"mean_dice", by_region(n.dice)},
          {"mean_dice_cases", by_region(n.dice_cases)},
          {"mean_hd95_mm", by_region(n.hd95_mm)},
          {"mean_hd95_cases", by_region(n.hd95_cases)},
          {"lesions", {{"true", n.all.lesions}, {"found", n.all.found}, {"false", n.all.false_positives}}},
          {"lesions_from_8_mm", {{"true", n.from_8_mm.lesions}, {"found", n.from_8_mm.found}}},
          {"notes", result.notes},
          {"faults", result.faults}};
}

// What a mean leaves out is said beside it.
std::string with_cases(double mean, int digits, int64_t defined, int64_t cases) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, mean);
  return defined == cases ? text.data() : sentence(text.data(), " (", defined, " of ", cases, " cases)");
}

void print_means(const char* name, const std::array<double, 3>& means, const std::array<int64_t, 3>& defined,
                 int64_t cases, int digits, const char* unit) {
  std::string text = name;
  for (size_t r = 0; r < 3; ++r)
    text += std::string(r == 0 ? "ET " : r == 1 ? "  TC " : "  WT ") + with_cases(means[r], digits, defined[r], cases);
  std::printf("%s%s\n", text.c_str(), unit);
}

void print(const ReportNumbers& n) {
  print_means("mean Dice  ", n.dice, n.dice_cases, n.cases, 4, "");
  print_means("mean HD95  ", n.hd95_mm, n.hd95_cases, n.cases, 2, " mm");
  std::printf("%s\n",
              sentence("lesions (tumour core)  ", n.all.found, " of ", n.all.lesions, " found, ", n.from_8_mm.found,
                       " of ", n.from_8_mm.lesions, " of 8 mm or more; ", n.all.false_positives, " false")
                  .c_str());
}

int run(CommandLine& line) {
  Path prediction, truth, out;
  line.option("pred", prediction, "DIR", "predictions: CASE.nii.gz", Need::required);
  line.option("truth", truth, "DIR", "truths: CASE.nii.gz or CASE-seg.nii.gz, flat or a folder a case", Need::required);
  line.option("out,o", out, "DIR",
              "folder for scores.csv, extended.csv, lesions.csv, summary.json and, of probabilities, calibration.csv",
              Need::required);
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;

  std::string note;
  const Labels labels = find_label_names(prediction, truth, &note);
  if (!note.empty()) line.say("note: ", note);
  Progress progress("evaluate", "cases", line.values().quiet);
  const Evaluation result = evaluate(prediction, truth, labels, out, progress.callback());
  for (const std::string& fault : result.faults) progress.line("metvox evaluate: " + fault);
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < std::min(result.notes.size(), kShown); ++i) line.say("note: ", result.notes[i]);
  if (result.notes.size() > kShown)
    line.say("note: ", result.notes.size() - kShown, " more; all are in ", (out / "summary.json").string());
  line.say(counted(result.cases, "case"), " evaluated; scores.csv, extended.csv, lesions.csv and summary.json are in ",
           out.string());
  const ReportNumbers numbers = report_numbers(read_csv(out / "scores.csv"), read_csv(out / "lesions.csv"), out);
  if (line.values().json) print_json(to_json(numbers, result));
  else print(numbers);
  return result.faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"evaluate", Stage::results, "score predictions against truths",
                       "metvox evaluate --pred predictions --truth raw/labelsTs --out scores", run}};

}  // namespace
}  // namespace metvox
