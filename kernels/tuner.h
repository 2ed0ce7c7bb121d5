// SPDX-License-Identifier: Apache-2.0
// Chooses among the ways to compute a problem by trying them out: each is compared with what is known to be right, and
// of those that agree the fastest is taken. A file keeps what was found, so that it is found once: `tuner.tsv` in
// $XDG_CACHE_HOME/metvox or ~/.cache/metvox; METVOX_TUNER_CACHE names another file, or "off" for none. Every engine
// repeats its own results bit by bit, but two engines differ in rounding: the file also makes the choice repeatable.
// What faulted, hung or took the process down stands in the file as well, and is not tried again.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <span>

#include "kernels/engine.h"
#include "kernels/engines_of.h"

namespace metvox {

// Error by norm ratio, the largest of all that was compared; ms a run.
struct Measured {
  double error = 0, ms = 0;
};
// By norm ratio, of a result in that type, or where f32 may be rounded to tf32.
double largest_error(DType t, bool tf32);

// Compares and times kernels of one problem. Need not time to the end what is much slower than best_ms.
template <class Kernel>
using Trial = std::function<Measured(const Kernel&, double best_ms)>;

struct Candidate {
  std::string name;  // engine, or engine and way: "native", "cudnn eng34 k2=5"
  std::function<Measured(double best_ms)> measure;
};

// Lines `key<TAB>name<TAB>ms` below a heading, and `key<TAB>name<TAB>left out`. Threads may share one; so may
// processes, each adding to what the file holds by then. What is no such file is left out of account with a sentence on
// stderr, and replaced.
class TunerCache {
 public:
  explicit TunerCache(std::string path) : path_(std::move(path)) {}  // "": in memory alone
  const std::string& path() const { return path_; }
  std::optional<std::string> find(const std::string& key);
  void put(const std::string& key, const std::string& name, double ms);
  // Of the candidate of that name, for good: until its line is deleted.
  void leave_out(const std::string& key, const std::string& name);
  bool is_left_out(const std::string& key, const std::string& name);
  void read_again();  // what other processes found meanwhile

 private:
  struct Found {
    std::string name;
    double ms;
  };
  struct Contents {
    std::map<std::string, Found> found;                      // by key
    std::set<std::pair<std::string, std::string>> left_out;  // key and name
  };
  Contents read() const;
  void merge_file();  // adds what the file holds by now
  void write();       // with that

  std::string path_;
  std::mutex mutex_;  // of what follows
  bool loaded_ = false;
  Contents contents_;
};
// The one of this process, where the environment says.
TunerCache& tuner_cache();
std::string tuner_cache_path();

struct TrialRules {
  double largest_error = 0;
  std::function<void()> check_device = [] {};  // throws where a kernel has broken the device for this process
  double seconds = 120;                        // in which a candidate has to come back; else the process ends (exit 1)
};

// Which of them (at least one): the cache's choice, else the fastest that is right; the first, with a sentence on
// stderr, where none is so right. One at a time in a process, and among processes with one cache, so that no two are
// timed at once. A candidate that breaks the device, does not come back, or was being tried when an earlier process
// ended, is left out from the next start on (kernels/trial_guard.h).
// Throws Error (Fault::internal) where the device is broken, and where all of them are left out.
size_t fastest(TunerCache&, const std::string& key, std::span<const Candidate> candidates, const TrialRules&);

// Says on stderr, once in a process, that what takes a while is this.
void tell_of_trials();

// What a choice depends on beside the problem: the device's model, metvox's kernels (a digest of their sources and of
// what compiled them), the versions of the driver, of the CUDA it serves, and of the libraries.
std::string tuner_place(Device);

// The mean of runs after some that warm up, by events, and on a GPU of recorded runs (tensor/replay.h): neither the
// launches nor the host's waiting count. run(i) gets 0, 1, 2, ... in a batch of runs; with `turns` different data for
// i % turns, each batch uses all of them equally often. Gives up early on what is far slower than best_ms.
double time_runs(Stream&, const std::function<void(int)>& run, double best_ms, int turns = 1);

// For EngineTable: tries the engines that take the problem, each in all its ways, but rivals (kernels/engines_of.h)
// only where there is no other. make_trial(problem) may need much memory; where there is none, the first engine is
// taken.
template <auto make_trial, class Problem, class Kernel>
EngineChoice<Kernel> choose_by_trial(std::string_view op, const Problem& p,
                                     const std::vector<const Engine<Problem, Kernel>*>& engines) {
  auto able = engines;
  if (able.size() > 1) std::erase_if(able, [](const auto* e) { return is_rival(e->name); });
  struct Way {
    const Engine<Problem, Kernel>* engine;
    std::string name;  // "": there is but one
    std::string full_name() const { return sentence(engine->name, name.empty() ? "" : " ", name); }
    EngineChoice<Kernel> make(std::string_view op, const Problem& p) const {
      log("dispatch", op, ",", full_name(), ",chosen,", p.describe());
      return {engine->name, name.empty() ? engine->make(p) : engine->make_way(p, name)};
    }
  };
  std::string key = sentence(op, "; ", p.describe(), "; ", tuner_place(p.device), ";");
  for (const auto* e : able) key += sentence(' ', e->name);
  if (const auto known = tuner_cache().find(key))
    for (const auto* e : able) try {
        if (*known == e->name && !e->ways) return Way{e, ""}.make(op, p);
        if (e->ways && known->starts_with(sentence(e->name, ' ')))
          return Way{e, known->substr(e->name.size() + 1)}.make(op, p);
      } catch (const Error& error) {
        log("dispatch", op, ",", *known, ",no longer to be had,", error.what());
      }
  std::vector<Way> ways;
  for (const auto* e : able) {
    if (!e->ways) ways.push_back({e, ""});
    else
      for (std::string& name : e->ways(p)) ways.push_back({e, std::move(name)});
  }
  if (ways.empty()) fail(Fault::usage, op, ": no engine knows a way to compute ", p.describe());
  if (ways.size() > 1 && p.device.kind == Device::Kind::cuda) tell_of_trials();
  Trial<Kernel> trial;
  std::vector<Candidate> candidates;
  for (const Way& way : ways)
    candidates.push_back({way.full_name(), [&](double best_ms) {
                            const auto kernel =
                                way.name.empty() ? way.engine->make(p) : way.engine->make_way(p, way.name);
                            if (!trial) trial = make_trial(p);
                            return trial(*kernel, best_ms);
                          }});
  const TrialRules rules{largest_error(p.dtype, p.tf32), [&] {
                           if (!p.device.is_cpu()) driver(p.device).synchronize(p.device.index, nullptr);
                         }};
  const size_t best = ways.size() == 1 ? 0 : fastest(tuner_cache(), key, candidates, rules);
  return ways[best].make(op, p);
}

// An EngineTable's third argument: a GPU's engines are tried out by trials that make_trial makes.
template <auto make_trial>
auto tried_on_gpu() {
  return []<class Problem, class Kernel>(Trial<Kernel> (*)(const Problem&)) {
    return
        typename EngineTable<Problem, Kernel>::Trials{Device::Kind::cuda, choose_by_trial<make_trial, Problem, Kernel>};
  }(make_trial);
}

}  // namespace metvox
