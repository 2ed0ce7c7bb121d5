// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/profile.h"

#include "io/csv.h"
#include "io/json.h"

namespace metvox {
namespace {

using Part = Program::Timing::Part;

double gflops(const Part& p) { return p.ms > 0 ? p.work.flops / p.ms / 1e6 : 0; }

Json event(const Program::Timing& step, const Part& part, const char* pass) {
  return {{"name", step.name},
          {"cat", sentence(step.op, ',', pass)},
          {"ph", "X"},
          {"pid", 0},
          {"tid", 0},
          {"ts", part.start_ms * 1e3},
          {"dur", part.ms * 1e3},
          {"args", {{"op", step.op}, {"pass", pass}, {"engine", part.work.engine}, {"gflops", gflops(part)}}}};
}

}  // namespace

void write_profile(const Path& folder, const std::vector<Program::Timing>& steps) {
  double total = 0;
  for (const auto& s : steps) total += s.forward.ms + s.backward.ms;
  CsvTable csv{{"layer", "op", "forward_engine", "forward_ms", "forward_gflops", "backward_engine", "backward_ms",
                "backward_gflops", "share"},
               {}};
  Json events = Json::array();
  for (const auto& s : steps) {
    csv.rows.push_back({s.name, s.op, s.forward.work.engine, csv_number(s.forward.ms), csv_number(gflops(s.forward)),
                        s.backward.work.engine, csv_number(s.backward.ms), csv_number(gflops(s.backward)),
                        csv_number((s.forward.ms + s.backward.ms) / total)});
    events.push_back(event(s, s.forward, "forward"));
    if (s.backward.ms > 0) events.push_back(event(s, s.backward, "backward"));
  }
  write_csv(folder / "profile.csv", csv);
  write_json(folder / "trace.json", {{"displayTimeUnit", "ms"}, {"traceEvents", events}});
}

}  // namespace metvox
