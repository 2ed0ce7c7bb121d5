// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "segmentation/exchange/verify.h"
#include "tools/cli.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  Path path;
  std::string checkpoint = "final";
  line.positional("MODEL", path, "model folder with an oracle, as tools/make_oracle.py records one");
  line.choice("checkpoint", checkpoint, {"final", "best", "latest"}, "which weights of the oracle's fold");
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  const Certificate c = verify_model(open_model(path, checkpoint), checkpoint, line.target());
  Json stages = Json::array();
  if (!line.values().json) std::printf("%-58s %8s %12s %12s\n", "stage", "values", "error", "limit");
  for (const VerifiedStage& s : c.stages) {
    stages.push_back({{"stage", s.name}, {"values", s.values}, {"error", s.error}, {"limit", s.limit}, {"ok", s.ok}});
    if (!line.values().json)
      std::printf("%-58s %8lld %12.3g %12.3g %s\n", s.name.c_str(), static_cast<long long>(s.values), s.error, s.limit,
                  s.ok ? "" : "BEYOND");
  }
  if (line.values().json)
    print_json({{"case", c.case_id}, {"fold", c.fold}, {"made_with", c.made_with}, {"stages", stages}, {"ok", c.ok()}});
  line.say("case ", c.case_id, ", fold ", c.fold, ", against ", c.made_with.dump(), ": ",
           c.ok() ? "every stage is within its limit" : "some stage is beyond its limit");
  return c.ok() ? 0 : code(Fault::verification);
}

const VerbEntry entry{{"verify", Stage::model, "compare every stage of a prediction with the reference's numbers",
                       "metvox verify results/nnunet__dice-bce__3d_fullres", run}};

}  // namespace
}  // namespace metvox
