// SPDX-License-Identifier: Apache-2.0
// Engines: an op's implementations, best first, `reference` last. Each engine declines a problem with a reason or makes
// a kernel: an object prepared once for that problem, run many times, never allocating in a run.
#pragma once
#include <algorithm>
#include <atomic>
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

class Communicator;  // kernels/collective.h

// As --precision says it. tf32 is of f32 alone: the factors of convolutions' products may be rounded to 10 bits of
// fraction, each by at most 2^-11 of itself; sums stay f32.
inline std::string_view precision_of(DType dtype, bool tf32) { return tf32 ? "tf32" : name_of(dtype); }

// Of a whole program: where, in which type, and with which engine ("" means the best that does not decline).
struct Target {
  Device device;
  DType dtype = DType::f32;
  std::string engine = {};
  Communicator* ranks = nullptr;  // that run the same program on parts of one batch; null: alone
  bool tf32 = false;              // may convolutions round?
  std::string_view precision() const { return precision_of(dtype, tf32); }
};

template <class Problem>
std::optional<std::string> never(const Problem&) {
  return std::nullopt;
}

template <class Problem, class Kernel>
struct Engine {
  std::string_view name;
  Device::Kind device;
  std::optional<std::string> (*declines)(const Problem&);  // why it cannot, or nothing
  std::unique_ptr<Kernel> (*make)(const Problem&);
  std::string_view (*yields)(const Problem&) = nullptr;  // to which better engine, should that one take it, or ""
  // Of an engine that knows several ways to compute a problem: their names, best guess first, which is what make()
  // takes; and a kernel of one of them. Every way repeats its results bit by bit.
  std::vector<std::string> (*ways)(const Problem&) = nullptr;
  std::unique_ptr<Kernel> (*make_way)(const Problem&, const std::string& way) = nullptr;
};

template <class Kernel>
struct EngineChoice {
  std::string_view engine;
  std::unique_ptr<Kernel> kernel;
};

template <class Problem, class Kernel>
class EngineTable {
 public:
  using Choice = EngineChoice<Kernel>;
  // On that kind of device, not the order of the engines decides but trying them out (kernels/tuner.h).
  struct Trials {
    Device::Kind device;
    Choice (*choose)(std::string_view op, const Problem&, const std::vector<const Engine<Problem, Kernel>*>& able);
  };
  EngineTable(std::string_view op, std::vector<Engine<Problem, Kernel>> engines, std::optional<Trials> trials = {})
      : op_(op), engines_(std::move(engines)), trials_(trials) {}

  const std::vector<Engine<Problem, Kernel>>& engines() const { return engines_; }

  // The engine named by the target where this op has one of that name on the device (an Error when it declines), else
  // the best that neither declines nor yields; a GPU's by trials, where the table has them. METVOX_VERBOSE=dispatch
  // tells each refusal and the choice; that large work fell to the slow loops of `reference` is told in any case, once
  // per op.
  Choice prepare(const Problem& problem, const Target& target) const {
    check(problem.device == target.device, op_, ": prepared for ", name_of(problem.device), ", to run on ",
          name_of(target.device));
    const bool forced = find(target.engine, target) != nullptr;
    const bool tried = trials_ && trials_->device == target.device.kind;
    std::string reasons;
    std::vector<const Engine<Problem, Kernel>*> able;
    for (const auto& e : engines_) {
      if (e.device != target.device.kind || (forced && e.name != target.engine)) continue;
      if (auto reason = e.declines(problem)) {
        log("dispatch", op_, ",", e.name, ",declined,", *reason);
        reasons += sentence(reasons.empty() ? "" : "; ", e.name, ": ", *reason);
        continue;
      }
      const auto* better = forced || tried || !e.yields ? nullptr : find(e.yields(problem), target);
      if (better && !better->declines(problem)) {
        log("dispatch", op_, ",", e.name, ",yields to ", better->name, ",", problem.describe());
        continue;
      }
      able.push_back(&e);
      if (tried) continue;
      log("dispatch", op_, ",", e.name, ",chosen,", problem.describe());
      if (!forced && e.name == "reference") tell_slow(problem, reasons);
      return {e.name, e.make(problem)};
    }
    if (!able.empty()) return trials_->choose(op_, problem, able);
    fail(Fault::usage, op_, ": no engine for ", problem.describe(), forced ? " under --engine " + target.engine : "",
         " on ", name_of(target.device), " (", reasons, ")");
  }

 private:
  const Engine<Problem, Kernel>* find(std::string_view name, const Target& target) const {
    const auto same = [&](const auto& e) { return e.device == target.device.kind && e.name == name; };
    const auto it = std::find_if(engines_.begin(), engines_.end(), same);
    return it == engines_.end() ? nullptr : &*it;
  }

  void tell_slow(const Problem& problem, const std::string& reasons) const {
    if constexpr (requires { problem.flops(); }) {
      static std::atomic_flag told;  // one for each type of table, that is, for each op
      if (problem.dtype == DType::f64 || problem.flops() < 1e6 || told.test_and_set()) return;
      std::fprintf(stderr, "%s\n",
                   sentence(op_, ": no fast engine for ", problem.describe(), " (", reasons,
                            "); engine reference computes it, many times slower")
                       .c_str());
    }
  }

  std::string_view op_;
  std::vector<Engine<Problem, Kernel>> engines_;
  std::optional<Trials> trials_;
};

}  // namespace metvox
