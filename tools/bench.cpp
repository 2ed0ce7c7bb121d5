// SPDX-License-Identifier: Apache-2.0
// Verifies, then times: an engine that gets one of an op's small test cases wrong is not timed.
#include <algorithm>
#include <map>
#include <set>

#include "autograd/op_check.h"
#include "tensor/threads.h"
#include "tools/cli.h"
#include "tools/machine.h"

namespace metvox {
namespace {

struct Request {
  std::string op, name, engine;
  int runs = 0;
};

std::vector<OpCase> chosen(const Request& r) {
  std::vector<OpCase> cases;
  std::set<std::string> ops;
  for (const OpCase& c : op_cases()) {
    ops.insert(c.op);
    if (c.use == Use::bench && (r.op.empty() || c.op == r.op) && (r.name.empty() || c.name == r.name)) cases.push_back(c);
  }
  std::stable_sort(cases.begin(), cases.end(), [](const OpCase& a, const OpCase& b) { return a.op < b.op; });
  if (!cases.empty()) return cases;
  std::string names;
  for (const auto& op : ops) names += (names.empty() ? "" : ", ") + op;
  fail(Fault::usage, "there is no benchmark \"", r.op, r.name.empty() ? "" : " " + r.name, "\"; the ops are ", names);
}

// The first small case of the op that this target gets wrong; empty when all are right.
std::string first_wrong(const std::string& op, const Target& target, uint64_t seed) {
  for (const OpCase& c : op_cases()) {
    if (c.op != op || c.use != Use::test) continue;
    const CheckResult result = check_case(c, target, seed);
    if (!result.declined && !result.passed())
      return sentence(c.line(), ": forward ", result.forward_error, ", gradient ", result.gradient_error, " of what is allowed");
  }
  return "";
}

Json row_of(const OpCase& c, const Target& target, const CaseTime& t, const std::string& reproduce) {
  const auto rate = [](double amount, double ms) { return ms > 0 ? amount / ms / 1e6 : 0; };
  const double bytes = c.values * static_cast<double>(size_of(target.dtype));
  return {{"op", c.op}, {"case", c.name}, {"engine", t.engine}, {"precision", name_of(target.dtype)}, {"runs", t.runs},
          {"forward_ms_median", t.forward_ms_median}, {"forward_ms_min", t.forward_ms_min},
          {"backward_ms_median", t.backward_ms_median}, {"backward_ms_min", t.backward_ms_min},
          {"forward_gflops", rate(c.flops, t.forward_ms_min)}, {"forward_gb_per_s", rate(bytes, t.forward_ms_min)},
          {"arena_bytes", t.arena_bytes}, {"packed_bytes", t.packed_bytes}, {"reproduce", reproduce}};
}

void print_row(const Json& r) {
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  const std::string name = r["op"].get<std::string>() + " " + r["case"].get<std::string>();
  std::printf("%-34s %-10s %-5s %8.3f %8.3f %8.3f %8.3f %4d %8.1f %7.1f %9.1f  %s\n", name.c_str(),
              r["engine"].get<std::string>().c_str(), r["precision"].get<std::string>().c_str(), number("forward_ms_median"),
              number("forward_ms_min"), number("backward_ms_median"), number("backward_ms_min"), r["runs"].get<int>(),
              number("forward_gflops"), number("forward_gb_per_s"), number("arena_bytes") / 1048576, r["reproduce"].get<std::string>().c_str());
  std::fflush(stdout);
}

// Enough runs for half a second, at least three.
int runs_for(const OpCase& c, const Target& target) {
  const CaseTime once = time_case(c, target, 1);
  const double step_ms = once.forward_ms_min + once.backward_ms_min;
  return static_cast<int>(std::clamp(500 / std::max(step_ms, 1e-3), 3.0, 200.0));
}

// Times one case on one target; nothing where the op has no engine of that name, or where it declines.
void bench_case(const OpCase& c, const Target& target, const Request& r, const CommandLine& line, Json* rows) {
  try {
    const CaseTime time = time_case(c, target, r.runs > 0 ? r.runs : runs_for(c, target));
    if (!target.engine.empty() && time.engine != target.engine) return;
    rows->push_back(row_of(c, target, time, sentence("metvox bench ", c.op, " '", c.name, "' --engine ", time.engine,
                                                     " --precision ", name_of(target.dtype), " --threads ", threads())));
    if (!line.values().json) print_row(rows->back());
  } catch (const Error& e) {
    if (e.fault() != Fault::usage) throw;
    line.say(c.line(), ": ", e.what());
  }
}

int run(CommandLine& line) {
  Request r;
  line.positional("OP", r.op, "an op, such as conv3d; without it, every op", Need::optional);
  line.positional("CASE", r.name, "one of its cases, such as '32>32 64^3'", Need::optional);
  line.option("engine", r.engine, "NAME|all", "an engine, or every engine of the device; without it, the best that does not decline");
  line.option("runs", r.runs, "N", "timed runs; 0: enough for half a second, at least three");
  line.common({Common::device, Common::precision, Common::seed, Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  const std::vector<OpCase> cases = chosen(r);
  const std::vector<std::string> engines = r.engine == "all" ? cpu_engines() : std::vector<std::string>{r.engine};
  std::vector<Target> targets;
  for (const auto& engine : engines) targets.push_back(line.target(engine));
  if (!line.values().json)
    std::printf("%-34s %-10s %-5s %17s %17s %4s %8s %7s %9s  %s\n%-34s %-10s %-5s %8s %8s %8s %8s\n", "", "", "", "forward ms",
                "backward ms", "n", "GFLOP/s", "GB/s", "arena MiB", "reproduce", "op case", "engine", "type", "median", "min", "median", "min");
  Json rows = Json::array(), failures = Json::array();
  std::map<std::string, std::string> verdicts;
  for (const OpCase& c : cases)
    for (const Target& target : targets) {
      const auto [verdict, is_first] = verdicts.try_emplace(c.op + " " + target.engine);
      if (is_first) verdict->second = first_wrong(c.op, target, line.values().seed);
      if (is_first && !verdict->second.empty()) {
        failures.push_back(verdict->second);
        line.warn("not timed, because wrong: ", target.engine, " ", verdict->second);
      }
      if (verdict->second.empty()) bench_case(c, target, r, line, &rows);
    }
  if (line.values().json) print_json({{"rows", rows}, {"failures", failures}});
  return failures.empty() ? 0 : code(Fault::verification);
}

const VerbEntry entry{{"bench", Stage::machine, "verify an op on each engine, then time it",
                       "metvox bench conv3d --engine all\nmetvox bench conv3d '8>8 48^3' --precision bf16 --json", run}};

}  // namespace
}  // namespace metvox
