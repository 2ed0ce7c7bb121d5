// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/scores.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

void print_means(const Path& scores_csv) {
  const CsvTable table = read_csv(scores_csv);
  for (const std::string metric : {"DICE", "Hausdorff", "Sensitivity"})
    for (const std::string region : {"et", "tc", "wt"}) {
      const size_t column = table.column(metric + "_" + region, scores_csv);
      double sum = 0;
      int64_t n = 0;
      for (const auto& row : table.rows) {
        const double value = std::stod(row[column]);
        if (!std::isfinite(value)) continue;
        sum += value;
        ++n;
      }
      if (n) std::printf("%s%s_%s %.4f (%lld cases)", region == "et" ? "" : "   ", metric.c_str(), region.c_str(),
                         sum / static_cast<double>(n), static_cast<long long>(n));
      if (region == "wt") std::printf("\n");
    }
}

int run(CommandLine& line) {
  Path prediction, truth, out;
  line.option("pred", prediction, "DIR", "predictions: CASE.nii.gz", Need::required);
  line.option("truth", truth, "DIR", "truths: CASE.nii.gz or CASE-seg.nii.gz, flat or a folder a case", Need::required);
  line.option("out,o", out, "DIR", "folder for scores.csv, extended.csv, lesions.csv, summary.json", Need::required);
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;

  Progress progress("evaluate", "cases", line.values().quiet);
  const Evaluation result = evaluate(prediction, truth, find_label_names(prediction, truth), out, progress.callback());
  for (const std::string& fault : result.faults) progress.line("metvox evaluate: " + fault);
  line.say(result.cases, " cases evaluated; scores.csv, extended.csv, lesions.csv and summary.json are in ", out.string());
  if (line.values().json) print_json(read_json(out / "summary.json")["foreground_mean"]);
  else print_means(out / "scores.csv");
  return result.faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"evaluate", Stage::results, "score predictions against truths",
                       "metvox evaluate --pred predictions --truth raw/labelsTs --out scores", run}};

}  // namespace
}  // namespace metvox
