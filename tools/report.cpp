// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/report.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  ReportInputs in;
  Path out;
  line.option("pred", in.predictions, "DIR", "predictions that `metvox predict` wrote", Need::required);
  line.option("truth", in.truths, "DIR", "truths, as for `metvox evaluate`", Need::required);
  line.option("images", in.images, "DIR", "images, as for `metvox predict`", Need::required);
  line.option("scores", in.scores, "DIR", "folder that `metvox evaluate` wrote", Need::required);
  line.option("out,o", out, "DIR", "folder for index.html and overview.png", Need::required);
  line.option("model", in.model, "DIR", "model folder, for its training curves");
  line.common({Common::threads, Common::quiet});
  if (!line.parse()) return 0;
  {
    Progress progress("report", "cases", line.values().quiet);
    write_report(in, out, progress.callback());
  }
  std::printf("%s\n", (out / "index.html").string().c_str());
  return 0;
}

const VerbEntry entry{
    {"report", Stage::results, "write a page with numbers and pictures",
     "metvox report --pred predictions --truth raw/labelsTs --images raw/imagesTs --scores scores --out report", run}};

}  // namespace
}  // namespace metvox
