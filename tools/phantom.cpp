// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/phantom.h"

#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/system_memory.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

// "96x112x96", file order.
std::array<int64_t, 3> size_from(const std::string& text) {
  const auto size = three_from<int64_t>(text, "--size", 'x', "152x184x150");
  for (int64_t extent : size)
    if (extent < 8 || extent > 1024) fail(Fault::usage, "--size: ", extent, " voxels; from 8 to 1024 make a head");
  return size;
}

// "analytic" or label maps.
std::vector<Path> label_maps_from(const std::vector<std::string>& anatomy) {
  if (anatomy == std::vector<std::string>{"analytic"}) return {};
  std::vector<Path> maps;
  for (const Path map : anatomy) {
    if (!std::filesystem::exists(map))
      fail(Fault::input, "--anatomy: there is no label map ", map.string(),
           "; it may also be the word analytic, alone");
    maps.push_back(map);
  }
  return maps;
}

int run(CommandLine& line) {
  PhantomOptions options;
  Path out;
  std::string layout = "nnunet", size = "152x184x150";
  std::vector<std::string> anatomy{"analytic"};
  line.option("out,o", out, "DIR", "folder to write; cases that are whole there are kept", Need::required);
  line.option("cases", options.cases, "N", "how many heads");
  line.choice("domain", options.domain, {"public", "private"},
              "kind of scanner; public: isotropic and clean, private: thick slices and noise");
  line.choice("layout", layout, {"nnunet", "brats"}, "a raw data set of nnU-Net, or a folder a case with BraTS names");
  line.option("size", size, "XxYxZ", "voxels along x, y and z; another size keeps the head and enlarges the voxels");
  line.option("anatomy", anatomy, "analytic|LABELMAP",
              "a head made of formulas, or whole-head label maps with FreeSurfer codes");
  line.common({Common::seed, Common::threads, Common::json, Common::quiet, Common::dry_run});
  if (!line.parse()) return 0;
  options.size = size_from(size);
  options.label_maps = label_maps_from(anatomy);
  options.seed = line.values().seed;
  constexpr int64_t kMostCases = 100'000;  // what a typing error asks for is not begun
  if (options.cases < 1 || options.cases > kMostCases)
    fail(Fault::usage, "--cases: ", options.cases, " is not from 1 to ", kMostCases);
  if (!line.values().dry_run) {
    give_back_what_is_freed();
    Progress progress("phantom", "cases", line.values().quiet);
    write_phantoms(out, options, layout, progress.callback());
  }
  if (line.values().json)
    print_json({{"out", out.string()},
                {"layout", layout},
                {"cases", options.cases},
                {"seed", options.seed},
                {"domain", options.domain},
                {"size", options.size},
                {"label_maps", options.label_maps.size()},
                {"written", !line.values().dry_run}});
  else
    line.say(counted(options.cases, "phantom"),
             line.values().dry_run ? " would be written to "
             : options.cases == 1  ? " is in "
                                   : " are in ",
             out.string(), " (phantoms are not patients)");
  return 0;
}

const VerbEntry entry{{"phantom", Stage::data, "write a synthetic cohort: four sequences, exact labels, a lesion table",
                       "metvox phantom --out raw --cases 20 --seed 1 --size 96x112x96", run}};

}  // namespace
}  // namespace metvox
