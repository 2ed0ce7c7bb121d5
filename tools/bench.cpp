// SPDX-License-Identifier: Apache-2.0
// Verifies, then times: an engine that gets one of an op's small test cases wrong is not timed, nor is a workload made
// of it. With --check an op that is far below what the machine reaches, for no reason that memory gives, is a failure
// too.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "autograd/op_check.h"
#include "kernels/ceilings.h"
#include "kernels/engines_of.h"
#include "tensor/threads.h"
#include "tools/cli.h"
#include "tools/machine.h"
#include "tools/workload.h"

namespace metvox {
namespace {

struct Request {
  std::string op, name, engine;
  int runs = 0;
  bool check = false;
};

struct Chosen {
  std::vector<OpCase> cases;
  std::vector<Workload> workloads;
};

Chosen chosen(const Request& r) {
  Chosen c;
  std::set<std::string> ops, kinds;
  const auto wanted = [&](const std::string& op, const std::string& name) {
    return (r.op.empty() || op == r.op) && (r.name.empty() || name == r.name);
  };
  for (const OpCase& op : op_cases()) {
    ops.insert(op.op);
    if (op.use == Use::bench && wanted(op.op, op.name)) c.cases.push_back(op);
  }
  for (const Workload& w : workloads()) {
    kinds.insert(w.kind);
    if (wanted(w.kind, w.name) && (!w.only_by_name || !r.name.empty())) c.workloads.push_back(w);
  }
  std::stable_sort(c.cases.begin(), c.cases.end(), [](const OpCase& a, const OpCase& b) { return a.op < b.op; });
  if (!c.cases.empty() || !c.workloads.empty()) return c;
  const auto list = [](const std::set<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  };
  fail(Fault::usage, "there is no benchmark \"", r.op, r.name.empty() ? "" : " " + r.name, "\"; the ops are ",
       list(ops), "; the workloads ", list(kinds));
}

// The first small case of the op that this target gets wrong; empty when all are right.
std::string first_wrong(const std::string& op, const Target& target, uint64_t seed) {
  for (const OpCase& c : op_cases()) {
    if (c.op != op || c.use != Use::test) continue;
    const CheckResult result = check_case(c, target, seed);
    if (!result.declined && !result.passed())
      return sentence(c.line(), ": forward ", result.forward_error, ", gradient ", result.gradient_error,
                      " of what is allowed");
  }
  return "";
}

double rate(double amount, double ms) { return ms > 0 ? amount / ms / 1e6 : 0; }
double bytes_of(const OpCase& c, const Target& target) { return c.values * static_cast<double>(size_of(target.dtype)); }

// Of both passes, the least time that the ceilings allow over the time taken. Each value counts once forward, and twice
// backward, for the two gradients.
Json shares_of(const OpCase& c, const Target& target, const CaseTime& t, const Ceilings& top) {
  const double bytes = bytes_of(c, target);
  return {{"forward_of_floor", top.floor_ms(c.flops, bytes) / t.forward_ms_min},
          {"backward_of_floor", top.floor_ms(2 * c.flops, 2 * bytes) / t.backward_ms_min},
          {"forward_of_peak", rate(c.flops, t.forward_ms_min) / top.gflops},
          {"backward_of_peak", rate(2 * c.flops, t.backward_ms_min) / top.gflops},
          {"forward_of_copy", rate(bytes, t.forward_ms_min) / top.gb_per_s}};
}

Json row_of(const OpCase& c, const Target& target, const CaseTime& t, const std::string& reproduce) {
  return {{"op", c.op},
          {"case", c.name},
          {"engine", t.engine},
          {"backward_engine", t.backward_engine},
          {"rival", is_rival(t.engine)},
          {"precision", target.precision()},
          {"runs", t.runs},
          {"forward_ms_median", t.forward_ms_median},
          {"forward_ms_min", t.forward_ms_min},
          {"backward_ms_median", t.backward_ms_median},
          {"backward_ms_min", t.backward_ms_min},
          {"forward_gflops", rate(c.flops, t.forward_ms_min)},
          {"forward_gb_per_s", rate(bytes_of(c, target), t.forward_ms_min)},
          {"arena_bytes", t.arena_bytes},
          {"packed_bytes", t.packed_bytes},
          {"reproduce", reproduce}};
}

void print_row(const Json& r) {
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  const std::string name = r["op"].get<std::string>() + " " + r["case"].get<std::string>();
  const std::string backward = r["backward_engine"].get<std::string>();
  std::string engines = r["engine"].get<std::string>();
  if (backward != engines) engines += "/" + backward;
  char shares[32] = "";
  if (r.contains("shares"))
    std::snprintf(shares, sizeof shares, "%.0f/%.0f%%", 100 * r["shares"]["forward_of_floor"].get<double>(),
                  100 * r["shares"]["backward_of_floor"].get<double>());
  std::printf("%-34s %-20s %-5s %8.3f %8.3f %8.3f %8.3f %4d %8.1f %7.1f %8s %9.1f  %s\n", name.c_str(), engines.c_str(),
              r["precision"].get<std::string>().c_str(), number("forward_ms_median"), number("forward_ms_min"),
              number("backward_ms_median"), number("backward_ms_min"), r["runs"].get<int>(), number("forward_gflops"),
              number("forward_gb_per_s"), shares, number("arena_bytes") / 1048576,
              r["reproduce"].get<std::string>().c_str());
  std::fflush(stdout);
}

// Enough runs for half a second, at least three.
int runs_for(const OpCase& c, const Target& target) {
  const CaseTime once = time_case(c, target, 1);
  const double step_ms = once.forward_ms_min + once.backward_ms_min;
  return static_cast<int>(std::clamp(500 / std::max(step_ms, 1e-3), 3.0, 200.0));
}

// What this machine reaches; a CPU in the largest convolution of the benchmark, and in its largest addition, which only
// moves memory.
Ceilings ceilings_of(const Target& target) {
  if (!target.device.is_cpu()) return measure_ceilings(target);
  constexpr int kRuns = 4;
  const auto largest = [](const char* op, double OpCase::*size) -> const OpCase& {
    const auto smaller = [&](const OpCase& a, const OpCase& b) {
      return (a.op == op ? a.*size : -1) < (b.op == op ? b.*size : -1);
    };
    return *std::max_element(op_cases().begin(), op_cases().end(), smaller);
  };
  const OpCase &work = largest("conv3d", &OpCase::flops), &move = largest("add", &OpCase::values);
  return {rate(work.flops, time_case(work, target, kRuns).forward_ms_min),
          rate(bytes_of(move, target), time_case(move, target, kRuns).forward_ms_min), work.line()};
}

// Under `bench ceilings` alone, or beside rows that are held against them.
Json tell_ceilings(const Ceilings& top, const Target& target, const CommandLine& line) {
  line.say("ceilings of ", name_of(target.device), " in ", target.precision(), ": ", std::round(top.gflops),
           " GFLOP/s (", top.of_what, "), ", std::round(top.gb_per_s), " GB/s");
  return {{"device", name_of(target.device)},
          {"precision", target.precision()},
          {"gflops", top.gflops},
          {"gb_per_s", top.gb_per_s},
          {"measured", top.of_what}};
}

// Small tests of every op that is timed, once for each engine; and, below a roof, its speed.
class Verdicts {
 public:
  Verdicts(const CommandLine& line, const std::optional<Ceilings>& roof, bool judges)
      : line_(line), roof_(roof), judges_(judges) {}
  bool right(const std::string& op, const Target& target) {
    const auto [verdict, is_first] = verdicts_.try_emplace(op + " " + target.engine);
    if (is_first) verdict->second = first_wrong(op, target, line_.values().seed);
    if (is_first && !verdict->second.empty()) {
      if (!is_rival(target.engine)) failures_.push_back(verdict->second);
      line_.warn("not timed, because wrong: ", target.engine, " ", verdict->second);
    }
    return verdict->second.empty();
  }
  // Both passes; the backward one computes two gradients.
  void judge_speed(const OpCase& c, const Target& target, const CaseTime& t) {
    constexpr double kLeastShare = 0.1;
    const double intensity = c.flops / bytes_of(c, target);
    for (const auto& [pass, gflops] :
         {std::pair{"forward", rate(c.flops, t.forward_ms_min)}, {"backward", rate(2 * c.flops, t.backward_ms_min)}}) {
      if (!judges_ || !roof_ || gflops == 0 || gflops >= kLeastShare * roof_->gflops) continue;
      const std::string text = sentence(c.line(), " ", pass, " reaches ", std::round(gflops), " of ",
                                        std::round(roof_->gflops), " GFLOP/s, less than a tenth");
      if (intensity < roof_->ridge()) {
        line_.say(text, ", as memory bounds it: ", intensity, " operations a byte, the ridge is at ", roof_->ridge());
        continue;
      }
      failures_.push_back(text + ", though memory does not bound it");
      line_.warn(failures_.back().get<std::string>());
    }
  }
  const Json& failures() const { return failures_; }
  const std::optional<Ceilings>& ceilings() const { return roof_; }

 private:
  const CommandLine& line_;
  std::optional<Ceilings> roof_;
  bool judges_;
  std::map<std::string, std::string> verdicts_;
  Json failures_ = Json::array();
};

// The options that name a target; where the best engine was taken, none names it.
std::string said(const Target& target) {
  std::string options;
  if (!target.engine.empty()) options += "--engine " + target.engine + " ";
  if (!target.device.is_cpu()) options += "--device " + name_of(target.device) + " ";
  return options;
}

// Times one case on one target; nothing where the op has no engine of that name, or where it declines.
void bench_case(const OpCase& c, const Target& target, const Request& r, const CommandLine& line, Verdicts& verdicts,
                Json* rows) {
  try {
    const CaseTime time = time_case(c, target, r.runs > 0 ? r.runs : runs_for(c, target));
    if (!target.engine.empty() && time.engine != target.engine) return;
    rows->push_back(row_of(c, target, time,
                           sentence("metvox bench ", c.op, " '", c.name, "' ", said(target), "--precision ",
                                    target.precision(), " --threads ", threads())));
    if (const auto& top = verdicts.ceilings()) rows->back()["shares"] = shares_of(c, target, time, *top);
    if (!line.values().json) print_row(rows->back());
    verdicts.judge_speed(c, target, time);
  } catch (const Error& e) {
    if (e.fault() != Fault::usage) throw;
    line.say(c.line(), ": ", e.what());
  }
}

std::string text_of(const Json& row, const char* key) { return row[key].get<std::string>(); }

// The fastest engine of each pass of a case, and how many times as long the next one takes. Rivals are told, but never
// win.
Json winners_of(const Json& rows, const CommandLine& line) {
  Json winners = Json::array();
  std::map<std::string, std::map<std::string, std::vector<std::pair<double, std::string>>>> passes;
  for (const Json& row : rows)
    for (const auto& [pass, engine] : {std::pair{"forward", "engine"}, {"backward", "backward_engine"}})
      passes[text_of(row, "op") + " " + text_of(row, "case") + " " + text_of(row, "precision")][pass].emplace_back(
          row[sentence(pass, "_ms_min")].get<double>(), text_of(row, engine));
  for (auto& [name, of_passes] : passes)
    for (auto& [pass, times] : of_passes) {
      std::sort(times.begin(), times.end());
      const auto first_rival =
          std::stable_partition(times.begin(), times.end(), [](const auto& time) { return !is_rival(time.second); });
      const std::vector<std::pair<double, std::string>> rivals(first_rival, times.end());
      times.erase(first_rival, times.end());
      if (times.empty()) continue;
      Json w{{"case", name}, {"pass", pass}, {"engine", times[0].second}, {"ms", times[0].first}};
      std::string next;
      if (times.size() > 1) {
        w["next"] = times[1].second, w["times_as_long"] = times[1].first / times[0].first;
        next = sentence(", ", std::round(100 * times[1].first / times[0].first) / 100, " times as fast as ",
                        times[1].second);
      }
      for (const auto& [ms, rival] : rivals) {
        w["rivals"][rival] = ms;
        next += sentence("; ", rival, " (not to be chosen): ", std::round(100 * ms / times[0].first) / 100,
                         " times as long");
      }
      line.say("fastest: ", name, " ", pass, ": ", times[0].second, next);
      winners.push_back(w);
    }
  return winners;
}

Json bench_ops(const std::vector<OpCase>& cases, const std::vector<Target>& targets, const Request& r,
               const CommandLine& line, Verdicts& verdicts) {
  Json rows = Json::array();
  if (!cases.empty() && !line.values().json)
    std::printf("%-34s %-20s %-5s %17s %17s %4s %8s %7s %8s %9s  %s\n%-34s %-20s %-5s %8s %8s %8s %8s\n", "", "", "",
                "forward ms", "backward ms", "n", "GFLOP/s", "GB/s", "of floor", "arena MiB", "reproduce", "op case",
                "engine", "type", "median", "min", "median", "min");
  for (const OpCase& c : cases)
    for (const Target& target : targets)
      if (verdicts.right(c.op, target)) bench_case(c, target, r, line, verdicts, &rows);
  return rows;
}

void print_workload(const Json& r) {
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  const std::string name = text_of(r, "workload") + " " + text_of(r, "case");
  const std::string share =
      r.contains("of_floor") ? sentence(std::lround(100 * r["of_floor"].get<double>()), '%') : std::string();
  std::printf("%-34s %-10s %-5s %8.2f %8.2f %4d %8.1f %8s %9.1f %10.1f  %s\n", name.c_str(),
              text_of(r, "engine").c_str(), text_of(r, "precision").c_str(), number("ms_median"), number("ms_min"),
              r["runs"].get<int>(), number("gflops"), share.c_str(), number("arena_bytes") / 1048576,
              number("packed_bytes") / 1048576, text_of(r, "reproduce").c_str());
  std::fflush(stdout);
}

// `--engine all` is for ops; a workload then takes the best engine of each.
Json bench_workloads(const std::vector<Workload>& workloads, const Request& r, const CommandLine& line,
                     Verdicts& verdicts) {
  Json rows = Json::array();
  const Target target = line.target(r.engine == "all" ? "" : r.engine);
  const std::string engine = target.engine.empty() ? "auto" : target.engine;
  if (!workloads.empty() && !line.values().json)
    std::printf("%-34s %-10s %-5s %8s %8s %4s %8s %8s %9s %10s  %s\n", "workload", "engine", "type", "median", "min ms",
                "n", "GFLOP/s", "of floor", "arena MiB", "packed MiB", "reproduce");
  for (const Workload& w : workloads) {
    const auto right = [&](const std::string& op) { return verdicts.right(op, target); };
    if (!std::all_of(w.ops.begin(), w.ops.end(), right)) continue;
    const WorkloadTime t = w.time(target, r.runs, line.values().seed);
    const std::string precision{w.ops.empty() ? name_of(DType::f32) : target.precision()};  // without a network, f32
    rows.push_back({{"workload", w.kind},
                    {"case", w.name},
                    {"engine", engine},
                    {"precision", precision},
                    {"runs", t.runs},
                    {"ms_median", t.ms_median},
                    {"ms_min", t.ms_min},
                    {"clock", t.clock},
                    {"gflops", rate(t.flops(), t.ms_min)},
                    {"arena_bytes", t.arena_bytes},
                    {"packed_bytes", t.packed_bytes},
                    {"reproduce", sentence("metvox bench ", w.kind, " '", w.name, "' ", said(target), "--precision ",
                                           precision, " --threads ", threads())}});
    if (const auto& top = verdicts.ceilings(); top && !t.work.empty())
      rows.back()["of_floor"] = t.floor_ms(*top, target.dtype) / t.ms_min;
    if (!line.values().json) print_workload(rows.back());
  }
  return rows;
}

int run(CommandLine& line) {
  Request r;
  line.positional(
      "OP", r.op,
      "an op, such as conv3d, or a workload: step (training, batch of 2; \"+ loader\": with new augmented batches), "
      "forward (nnU-Net's largest network), resample (order 3, f32; on a CPU one thread), augment (a patch, one "
      "thread), "
      "export (logits of 20 classes to labels, one thread), evaluate (all scores of a case, one thread), or ceilings "
      "(what products and copies reach); without it, everything but ceilings",
      Need::optional);
  line.positional("CASE", r.name, "one of its cases, such as '32>32 64^3' or '8-16-32-64 48^3'", Need::optional);
  line.option("engine", r.engine, "NAME|all",
              "an engine, or every engine of the device; without it, the best that does not decline");
  line.option("runs", r.runs, "N", "timed runs; 0: enough for half a second (a workload: two), at least three");
  line.option("check", r.check, "fail (exit 6) where an op is below a tenth of the peak and memory does not bound it");
  line.common({Common::device, Common::precision, Common::seed, Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  if (r.check && !r.engine.empty())
    fail(Fault::usage, "--check looks at the engine that would be taken; leave out --engine");
  const Target target = line.target(r.engine == "all" ? "" : r.engine);
  if (r.op == "ceilings") {
    const Json told = tell_ceilings(ceilings_of(target), target, line);
    if (line.values().json) print_json(told);
    return 0;
  }
  const Chosen c = chosen(r);
  const std::vector<std::string> engines =
      r.engine == "all" ? engines_of(target.device.kind) : std::vector<std::string>{r.engine};
  std::vector<Target> targets;
  for (const auto& engine : engines) targets.push_back(line.target(engine));
  // A GPU's are measured in a moment.
  const bool held = r.check || target.device.kind == Device::Kind::cuda;
  const std::optional<Ceilings> top = held ? std::optional(ceilings_of(targets.front())) : std::nullopt;
  const Json told = top ? tell_ceilings(*top, target, line) : Json();
  Verdicts verdicts(line, top, r.check);
  const Json rows = bench_ops(c.cases, targets, r, line, verdicts);
  const Json workload_rows = bench_workloads(c.workloads, r, line, verdicts);
  const Json winners = targets.size() > 1 ? winners_of(rows, line) : Json::array();
  if (line.values().json)
    print_json({{"ceilings", told},
                {"rows", rows},
                {"winners", winners},
                {"workloads", workload_rows},
                {"failures", verdicts.failures()}});
  return verdicts.failures().empty() ? 0 : code(Fault::verification);
}

const VerbEntry entry{{"bench", Stage::machine, "verify an op on each engine, then time it; time whole steps",
                       "metvox bench conv3d --engine all\nmetvox bench conv3d '8>8 48^3' --precision bf16 --json\n"
                       "metvox bench step\nmetvox bench forward --precision bf16\nmetvox bench ceilings",
                       run}};

}  // namespace
}  // namespace metvox
