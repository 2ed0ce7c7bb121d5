// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/report.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

Json by_region(const std::array<double, 3>& values) {
  return {{"et", values[0]}, {"tc", values[1]}, {"wt", values[2]}};
}

Json to_json(const ReportNumbers& n, const std::vector<std::string>& faults) {
  return {{"cases", n.cases},
          {"mean_dice", by_region(n.dice)},
          {"mean_hd95_mm", by_region(n.hd95_mm)},
          {"lesions", {{"true", n.all.lesions}, {"found", n.all.found}, {"false", n.all.false_positives}}},
          {"lesions_from_8_mm", {{"true", n.from_8_mm.lesions}, {"found", n.from_8_mm.found}}},
          {"faults", faults}};
}

void print(const ReportNumbers& n) {
  std::printf("mean Dice  ET %.4f  TC %.4f  WT %.4f\n", n.dice[0], n.dice[1], n.dice[2]);
  std::printf("mean HD95  ET %.2f  TC %.2f  WT %.2f mm\n", n.hd95_mm[0], n.hd95_mm[1], n.hd95_mm[2]);
  std::printf("%s\n",
              sentence("lesions (tumour core)  ", n.all.found, " of ", n.all.lesions, " found, ", n.from_8_mm.found,
                       " of ", n.from_8_mm.lesions, " of 8 mm or more; ", n.all.false_positives, " false")
                  .c_str());
}

int run(CommandLine& line) {
  Path prediction, truth, out;
  line.option("pred", prediction, "DIR", "predictions: CASE.nii.gz", Need::required);
  line.option("truth", truth, "DIR", "truths: CASE.nii.gz or CASE-seg.nii.gz, flat or a folder a case", Need::required);
  line.option("out,o", out, "DIR", "folder for scores.csv, extended.csv, lesions.csv, summary.json", Need::required);
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;

  std::string note;
  const Labels labels = find_label_names(prediction, truth, &note);
  if (!note.empty()) line.say("note: ", note);
  Progress progress("evaluate", "cases", line.values().quiet);
  const Evaluation result = evaluate(prediction, truth, labels, out, progress.callback());
  for (const std::string& fault : result.faults) progress.line("metvox evaluate: " + fault);
  line.say(counted(result.cases, "case"), " evaluated; scores.csv, extended.csv, lesions.csv and summary.json are in ",
           out.string());
  const ReportNumbers numbers = report_numbers(read_csv(out / "scores.csv"), read_csv(out / "lesions.csv"), out);
  if (line.values().json) print_json(to_json(numbers, result.faults));
  else print(numbers);
  return result.faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"evaluate", Stage::results, "score predictions against truths",
                       "metvox evaluate --pred predictions --truth raw/labelsTs --out scores", run}};

}  // namespace
}  // namespace metvox
