// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/inference/postprocess_folder.h"
#include "tools/cli.h"
#include "tools/predictions.h"
#include "tools/progress.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

struct Request {
  Path input, truth, output, file;
  std::optional<double> least_volume_mm3;
  PredictOptions cases;
};

bool parse(CommandLine& line, Request& r) {
  line.option("input,i", r.input, "DIR", "predictions: CASE.nii.gz, with dataset.json", Need::required);
  line.option("truth", r.truth, "DIR", "determine the rules: truths of all these predictions, of a cross-validation");
  line.option("out,o", r.output, "DIR", "apply the rules: folder for CASE.nii.gz; finished cases there are kept");
  line.option("postprocessing", r.file, "FILE",
              "the rules, postprocessing.json: written with --truth (default: into --input), else read");
  line.option("min-volume", r.least_volume_mm3, "MM3",
              "apply after the rules: remove components of all labels together that are smaller; no file holds this");
  line.option("overwrite", r.cases.overwrite, "post-process finished cases again and replace them");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return false;
  if (r.truth.empty() && r.output.empty())
    fail(Fault::usage, "give --truth to determine rules, --out to apply them, or both");
  if (r.truth.empty() && r.file.empty() && !r.least_volume_mm3)
    fail(Fault::usage, "--out needs rules: --postprocessing FILE, --min-volume MM3, or --truth to determine them");
  if (r.least_volume_mm3 && r.output.empty()) fail(Fault::usage, "--min-volume is applied: it needs --out");
  if (r.least_volume_mm3 && !(*r.least_volume_mm3 > 0))
    fail(Fault::usage, "--min-volume is ", *r.least_volume_mm3, "; it is a number above 0");
  if (!r.output.empty() && fs::weakly_canonical(r.output) == fs::weakly_canonical(r.input))
    fail(Fault::usage, "--out is --input, whose predictions would be replaced");
  if (r.file.empty() && !r.truth.empty()) r.file = r.input / "postprocessing.json";
  return true;
}

void warn_of_largest(const CommandLine& line, const std::vector<PostprocessingRule>& rules) {
  for (const PostprocessingRule& rule : rules)
    if (rule.least_volume_mm3 == 0) {
      line.warn(
          "warning: \"", describe(rule),
          "\" deletes every other metastasis of a patient who has several. "
          "A higher mean Dice does not show that; look at the lesions found with `metvox evaluate` before you use it");
      return;
    }
  line.say("no rule keeps only the largest component; for metastases that is as it should be");
}

std::vector<PostprocessingRule> determine(const CommandLine& line, const Request& r) {
  std::string note;
  const Labels labels = find_label_names(r.input, r.truth, &note);
  if (!note.empty()) line.say("note: ", note);
  Determined found;
  {
    Progress progress("postprocess", "passes", line.values().quiet);
    found = determine_postprocessing(r.input, r.truth, labels, progress.callback());
  }
  if (!found.unused.empty())
    line.warn("warning: ", found.unused.size(), " truths have no prediction (", found.unused.front(),
              found.unused.size() > 1 ? ", ..." : "", "); rules should be determined from all cases");
  for (const std::string& text : found.tried) line.say(text);
  const auto mean = [](const Json& summary) { return summary.at("foreground_mean").at("Dice").get<double>(); };
  if (mean(found.after) < mean(found.before))
    line.warn("warning: with the rules the mean Dice of all targets falls from ", mean(found.before), " to ",
              mean(found.after), ": nnU-Net asks of each region's rule only whether that region gains");
  const Json json = to_json(found);
  write_json(r.file, json);
  line.say("rules and numbers are in ", r.file.string());
  if (line.values().json && r.output.empty()) print_json(json);
  return found.rules;
}

std::string text_of(const Removed& removed) {
  return sentence(counted(removed.components, "component"), " of ", counted(removed.voxels, "voxel"));
}

int apply(const CommandLine& line, Request& r, std::vector<PostprocessingRule> rules) {
  const Labels labels = find_label_names(r.input, r.truth.empty() ? r.input : r.truth);
  if (r.least_volume_mm3) {
    PostprocessingRule all{{}, *r.least_volume_mm3};
    for (int label = 1; label <= labels.max_label(); ++label) all.labels.push_back(label);
    rules.push_back(all);
  }
  const Path config = r.input / "predict_config.json";
  r.cases.note =
      write_config(line, r.output,
                   {{"program", "metvox " METVOX_VERSION},
                    {"postprocessed", fs::absolute(r.input).lexically_normal().string()},
                    {"predictions_hash", fs::exists(config) ? get<Json>(read_json(config), "hash", config) : Json()},
                    {"rules", to_json(rules)}});
  Predictions done;
  Removed sum;
  {
    Progress progress("postprocess", "cases", line.values().quiet);
    done = postprocess_folder(
        r.input, r.output, labels, rules, r.cases,
        [&](int64_t i, int64_t n, const std::string& id) { progress.update(i, n, id); },
        [&](const std::string& id, const Removed& removed) {
          if (removed.components > 0) line.say(id, ": ", text_of(removed), " removed");
          sum.components += removed.components;
          sum.voxels += removed.voxels;
        });
  }
  line.say(text_of(sum), " removed in all");
  return report_predictions(line, r.output, done, {});
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  std::vector<PostprocessingRule> rules;
  if (!r.truth.empty()) rules = determine(line, r);
  else if (!r.file.empty()) rules = postprocessing_from_json(read_json(r.file), r.file);
  warn_of_largest(line, rules);
  return r.output.empty() ? 0 : apply(line, r, rules);
}

const VerbEntry entry{{"postprocess", Stage::model, "determine rules that remove components, or apply them",
                       "metvox postprocess -i crossval --truth raw/labelsTr\n"
                       "metvox postprocess -i predictions -o cleaned --postprocessing crossval/postprocessing.json",
                       run}};

}  // namespace
}  // namespace metvox
