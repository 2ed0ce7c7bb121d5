// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"
#include "tools/machine.h"

namespace metvox {
namespace {

void print_device(const Json& d) {
  const auto text = [&](const char* key) { return d[key].get<std::string>(); };
  std::string line = text("device") + ": " + text("model");
  if (d.contains("cores")) line += sentence(", ", d["cores"], " cores, ", d["threads"], " threads, ", text("isa"));
  else line += ", compute capability " + text("compute_capability");
  std::printf("%s, %.1f GiB memory (%.1f free), bf16 %s\n  engines:", line.c_str(), d["memory_gib"].get<double>(),
              d["memory_available_gib"].get<double>(), d["bf16"].get<bool>() ? "yes" : "no");
  const char* separator = " ";
  for (const Json& e : d["engines"]) {
    std::printf("%s%s %s", separator, e["name"].get<std::string>().c_str(), e["version"].get<std::string>().c_str());
    separator = ", ";
  }
  std::printf("\n");
}

int run(CommandLine& line) {
  line.common({Common::json, Common::threads});
  if (!line.parse()) return 0;
  const Json machine = describe_machine();
  if (line.values().json) {
    print_json(machine);
    return 0;
  }
  for (const Json& d : machine["devices"]) print_device(d);
  std::printf("cuda: %s\n", machine["cuda"].get<std::string>().c_str());
  return 0;
}

const VerbEntry entry{{"devices", Stage::machine, "list the CPU and GPUs of this machine and the engines of each",
                       "metvox devices --json", run}};

}  // namespace
}  // namespace metvox
