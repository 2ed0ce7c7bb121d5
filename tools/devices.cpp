// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"
#include "tools/machine.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  line.common({Common::json, Common::threads});
  if (!line.parse()) return 0;
  const Json machine = describe_machine();
  if (line.values().json) {
    print_json(machine);
    return 0;
  }
  for (const Json& d : machine["devices"]) {
    std::string engines;
    for (const Json& e : d["engines"])
      engines +=
          sentence(engines.empty() ? "" : ", ", e["name"].get<std::string>(), ' ', e["version"].get<std::string>());
    std::printf("%s: %s, %d cores, %d threads, %.1f GiB memory (%.1f free), %s, bf16 %s\n  engines: %s\n",
                d["device"].get<std::string>().c_str(), d["model"].get<std::string>().c_str(), d["cores"].get<int>(),
                d["threads"].get<int>(), d["memory_gib"].get<double>(), d["memory_available_gib"].get<double>(),
                d["isa"].get<std::string>().c_str(), d["bf16"].get<bool>() ? "yes" : "no", engines.c_str());
  }
  std::printf("cuda: not in this build\n");
  return 0;
}

const VerbEntry entry{{"devices", Stage::machine, "what this machine offers", "metvox devices --json", run}};

}  // namespace
}  // namespace metvox
