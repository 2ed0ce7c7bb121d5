// SPDX-License-Identifier: Apache-2.0
#include "tools/predictions.h"

#include "segmentation/data/case_fault.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/data/shell_quoted.h"

namespace metvox {

std::string write_config(const CommandLine& line, const Path& dir, Json config) {
  const std::string hash = config["hash"] = config_hash(config);
  const Path path = dir / "predict_config.json";
  make_folder(dir);
  if (std::filesystem::exists(path)) {
    const auto then = get<std::string>(read_json(path), "hash", path);
    if (then != hash)
      line.say("note: finished cases in ", dir.string(), " are kept though another configuration made them (hash ",
               then, ", now ", hash, "); --overwrite predicts them again");
  }
  write_json(path, config);
  return "configuration " + hash;
}

void require_previous_stage(const ModelFolder& model, const Path& input, const Path& folder) {
  const std::string& stage = model.config().previous_stage;
  if (stage.empty() && !folder.empty())
    fail(Fault::usage, "--prev-stage-predictions: ", model.configuration, " has no previous stage");
  if (stage.empty()) return;
  const std::string name = model_folder_name(model.network, model.loss, stage);
  if (folder.empty())
    fail(Fault::usage, model.configuration, " needs the predictions of ", stage, ": `metvox predict -i ",
         shell_quoted(input), " -o PREVIOUS -m ", shell_quoted((model.path / ".." / name).lexically_normal()),
         "`, then the same as now with --prev-stage-predictions PREVIOUS");
  require_folder(folder);
}

int report_predictions(const CommandLine& line, const Path& dir, const Predictions& done,
                       std::vector<std::string> faults) {
  faults.insert(faults.end(), done.faults.begin(), done.faults.end());
  for (const std::string& warning : done.warnings) line.warn("warning: ", warning);
  for (const std::string& fault : faults) line.warn(fault);
  if (done.not_begun > 0) line.warn(not_begun_sentence(done.not_begun, dir));
  line.say(done.written, " written, ", done.kept, " kept, ", faults.size(), " failed; segmentations are in ",
           dir.string());
  if (line.values().json)
    print_json({{"written", done.written},
                {"kept", done.kept},
                {"not_begun", done.not_begun},
                {"faults", faults},
                {"warnings", done.warnings},
                {"output", dir.string()}});
  if (faults.empty()) return 0;
  if (done.written + done.kept > 0) return code(Fault::partial);
  return code(done.memory ? Fault::memory : Fault::input);
}

}  // namespace metvox
