// SPDX-License-Identifier: Apache-2.0
#include "segmentation/crossval/accumulate.h"

#include "segmentation/data/case_fault.h"
#include "tools/cli.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  Path model, truths, out;
  std::vector<std::string> folds;
  line.positional("MODEL", model, "model folder that `metvox train` printed");
  line.option("folds,f", folds, "FOLD", "folds to collect; default: every numbered fold of the model");
  line.option("out,o", out, "DIR", "new folder for CASE.nii.gz of all folds, and summary.json", Need::required);
  line.option("truth", truths, "DIR", "truths; default: those that the folds were validated with");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  const CrossValidation validation = open_cross_validation(model, folds, truths);
  const std::vector<std::string> faults = accumulate(validation, out);
  for (const std::string& fault : faults) line.warn(fault);
  if (!std::filesystem::exists(out / "summary.json")) return code(Fault::input);
  std::string names;
  for (const std::string& fold : validation.folds) names += " " + fold;
  line.say(counted(std::ssize(validation.folders), "case"), validation.folds.size() == 1 ? " of fold" : " of folds",
           names, "; predictions and summary.json are in ", out.string());
  const double dice = foreground_dice(out);
  if (line.values().json)
    print_json({{"model", model.string()},
                {"folds", validation.folds},
                {"cases", validation.folders.size()},
                {"foreground_mean_dice", dice},
                {"output", out.string()},
                {"faults", faults}});
  else std::printf("mean Dice of all targets %.4f\n", dice);
  return faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"accumulate", Stage::model, "collect and measure the validation predictions of all folds",
                       "metvox accumulate results/nnunet__dice-bce__3d_fullres -o crossval", run}};

}  // namespace
}  // namespace metvox
