// SPDX-License-Identifier: Apache-2.0
#include "segmentation/crossval/find_best.h"

#include "tools/cli.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  FindBestOptions options;
  Path out;
  bool single = false;
  line.positional("MODEL", options.models, "model folders that `metvox train` printed; every fold is validated");
  line.option("out,o", out, "DIR", "new folder for the predictions of each model and pair, and the instructions",
              Need::required);
  line.option("folds,f", options.folds, "FOLD", "folds to compare; default: every numbered fold of a model");
  line.option("truth", options.truths, "DIR", "truths; default: those that the folds were validated with");
  line.option("disable-ensembling", single, "compare single models; else pairs need `train --save-probabilities`");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  options.ensembles = !single;
  const BestFound found = find_best(options, out, [&](const std::string& text) { line.say(text); });
  for (const std::string& text : found.postprocessing.tried) line.say(text);
  line.say("inference_information.json and inference_instructions.txt are in ", out.string());
  if (line.values().json) print_json(read_json(out / "inference_information.json"));
  else std::printf("%s", inference_instructions(found).c_str());
  return 0;
}

const VerbEntry entry{{"find-best", Stage::model, "compare models and pairs of them by cross-validation",
                       "metvox find-best results/nnunet__dice-bce__3d_fullres results/segresnet__dice-bce__3d_fullres "
                       "-o best",
                       run}};

}  // namespace
}  // namespace metvox
