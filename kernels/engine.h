// SPDX-License-Identifier: Apache-2.0
// Engines: an op's implementations, best first, `reference` last. Each engine declines a problem with a reason or makes a
// kernel: an object prepared once for that problem, run many times, never allocating in a run.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/log.h"

namespace metvox {

// What backward does with a gradient buffer: leave it, write it, add to it.
enum class Grad { ignore, overwrite, accumulate };

// Of a whole program: where, in which type, and with which engine ("" means the best that does not decline).
struct Target {
  Device device;
  DType dtype = DType::f32;
  std::string engine;
};

template <class Problem, class Kernel>
struct Engine {
  std::string_view name;
  Device::Kind device;
  std::optional<std::string> (*declines)(const Problem&);   // the reason, or nothing
  std::unique_ptr<Kernel> (*make)(const Problem&);
};

template <class Problem, class Kernel>
class EngineTable {
 public:
  EngineTable(std::string_view op, std::vector<Engine<Problem, Kernel>> engines) : op_(op), engines_(std::move(engines)) {}

  const std::vector<Engine<Problem, Kernel>>& engines() const { return engines_; }

  struct Choice {
    std::string_view engine;
    std::unique_ptr<Kernel> kernel;
  };
  // The engine named by the target where this op has one of that name on the device (an Error when it declines), else the
  // best that does not decline. METVOX_VERBOSE=dispatch tells each refusal and the choice.
  Choice prepare(const Problem& problem, const Target& target) const {
    const bool forced = !target.engine.empty() && has(target);
    std::string reasons;
    for (const auto& e : engines_) {
      if (e.device != target.device.kind || (forced && e.name != target.engine)) continue;
      if (auto reason = e.declines(problem)) {
        log("dispatch", op_, ",", e.name, ",declined,", *reason);
        reasons += sentence(reasons.empty() ? "" : "; ", e.name, ": ", *reason);
        continue;
      }
      log("dispatch", op_, ",", e.name, ",chosen,", problem.describe());
      return {e.name, e.make(problem)};
    }
    fail(Fault::usage, op_, ": no engine for ", problem.describe(), forced ? " under --engine " + target.engine : "", " on ",
         name_of(target.device), " (", reasons, ")");
  }

 private:
  bool has(const Target& target) const {
    for (const auto& e : engines_)
      if (e.device == target.device.kind && e.name == target.engine) return true;
    return false;
  }
  std::string_view op_;
  std::vector<Engine<Problem, Kernel>> engines_;
};

template <class Problem>
std::optional<std::string> never(const Problem&) {
  return std::nullopt;
}

}  // namespace metvox
