// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/ensemble.h"

#include "tools/cli.h"
#include "tools/predictions.h"
#include "tools/progress.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

void refuse_same_folders(const std::vector<Path>& members, const Path& out) {
  if (members.size() < 2) fail(Fault::usage, "--input: an ensemble has two folders of predictions or more");
  for (size_t i = 0; i < members.size(); ++i) {
    const Path here = fs::weakly_canonical(members[i]);
    if (here == fs::weakly_canonical(out))
      fail(Fault::usage, "--out ", out.string(), " is a member too; its predictions would be replaced");
    for (size_t j = 0; j < i; ++j)
      if (here == fs::weakly_canonical(members[j]))
        fail(Fault::usage, "--input: ", members[i].string(), " is given twice; it would count twice");
  }
}

Json resolved_config(const std::vector<Path>& members) {
  Json list = Json::array();
  for (const Path& dir : members) {
    const Path config = dir / "predict_config.json";
    list.push_back({{"predictions", fs::absolute(dir).lexically_normal().string()},
                    {"hash", fs::exists(config) ? get<Json>(read_json(config), "hash", config) : Json()}});
  }
  return {{"program", "metvox " METVOX_VERSION}, {"ensemble", list}};
}

int run(CommandLine& line) {
  std::vector<Path> members;
  Path out;
  PredictOptions options;
  line.option("input,i", members, "DIR", "folders that `metvox predict --save-probabilities` wrote, two or more",
              Need::required);
  line.option("out,o", out, "DIR", "folder for CASE.nii.gz; finished cases there are kept", Need::required);
  line.option("save-probabilities", options.probabilities, "also write CASE_probabilities.safetensors, the mean");
  line.option("overwrite", options.overwrite, "average finished cases again and replace them");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  refuse_same_folders(members, out);
  ensemble_description(members);  // before anything is written
  options.note = write_config(line, out, resolved_config(members));
  Predictions done;
  {
    Progress progress("ensemble", "cases", line.values().quiet);
    done = ensemble_folders(members, out, options,
                            [&](int64_t i, int64_t n, const std::string& id) { progress.update(i, n, id); });
  }
  return report_predictions(line, out, done, {});
}

const VerbEntry entry{{"ensemble", Stage::model, "average the predictions of several models",
                       "metvox ensemble -i predictions-a predictions-b -o predictions", run}};

}  // namespace
}  // namespace metvox
