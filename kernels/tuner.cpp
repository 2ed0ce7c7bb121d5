// SPDX-License-Identifier: Apache-2.0
#include "kernels/tuner.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "kernels/trial_guard.h"
#include "tensor/event.h"
#include "tensor/replay.h"

namespace metvox {
namespace {

constexpr std::string_view kHeading = "# metvox tuner 2: key, engine, ms or left out", kLeftOut = "left out";
constexpr uintmax_t kMostBytes = 16 << 20;

void tell(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

}  // namespace

double largest_error(DType t, bool tf32) { return t == DType::bf16 ? 1e-2 : t == DType::f16 || tf32 ? 1e-3 : 1e-5; }

void TunerCache::read_again() {
  const std::lock_guard lock(mutex_);
  merge_file();
}

void TunerCache::merge_file() {
  Contents others = read();
  contents_.found.merge(others.found);
  contents_.left_out.merge(others.left_out);
  loaded_ = true;
}

std::optional<std::string> TunerCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (!loaded_) merge_file();
  const auto it = contents_.found.find(key);
  return it == contents_.found.end() ? std::nullopt : std::optional(it->second.name);
}

bool TunerCache::is_left_out(const std::string& key, const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!loaded_) merge_file();
  return contents_.left_out.contains({key, name});
}

void TunerCache::put(const std::string& key, const std::string& name, double ms) {
  check(printable(key) && printable(name), "tuner: not a line's part: ", key, ", ", name);
  const std::lock_guard lock(mutex_);
  contents_.found[key] = {name, ms};
  write();
}

void TunerCache::leave_out(const std::string& key, const std::string& name) {
  check(printable(key) && printable(name), "tuner: not a line's part: ", key, ", ", name);
  const std::lock_guard lock(mutex_);
  contents_.left_out.emplace(key, name);
  write();
}

TunerCache::Contents TunerCache::read() const {
  Contents contents;
  std::error_code error;
  if (path_.empty() || !std::filesystem::exists(path_, error)) return contents;
  const auto damaged = [&](const char* what) {
    tell(sentence(path_, ": ", what, "; the choices of engines it holds are not used and will be made anew"));
    return Contents();
  };
  if (const auto bytes = std::filesystem::file_size(path_, error); error || bytes > kMostBytes)
    return damaged(error ? "cannot be read" : "too large for what metvox writes there");
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != kHeading) return damaged("its first line is not this metvox's");
  while (std::getline(file, line)) {
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    if (first == 0 || second == std::string::npos) return damaged("a line has not three parts");
    char* end = nullptr;
    const std::string key = line.substr(0, first), name = line.substr(first + 1, second - first - 1),
                      last = line.substr(second + 1);
    if (!printable(key) || name.empty() || !printable(name)) return damaged("a line has damaged parts");
    if (last == kLeftOut) {
      contents.left_out.emplace(key, name);
      continue;
    }
    const double ms = std::strtod(last.c_str(), &end);
    if (*end || last.empty() || !(ms >= 0)) return damaged("a line has damaged parts");
    contents.found[key] = {name, ms};
  }
  return contents;
}

// A file that cannot be written costs time, not results.
void TunerCache::write() {
  if (path_.empty()) return;
  merge_file();
  const std::string temporary = sentence(path_, ".", getpid());
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  std::ofstream file(temporary);
  file << kHeading << '\n';
  for (const auto& [key, found] : contents_.found) file << key << '\t' << found.name << '\t' << found.ms << '\n';
  for (const auto& [key, name] : contents_.left_out) file << key << '\t' << name << '\t' << kLeftOut << '\n';
  file.close();
  if (file.good()) std::filesystem::rename(temporary, path_, error);
  if (file.good() && !error) return;
  std::filesystem::remove(temporary, error);
  log("dispatch", "tuner: ", path_, " cannot be written; what was timed will be timed again");
}

std::string tuner_cache_path() {
  const std::string named = from_environment("METVOX_TUNER_CACHE");
  if (named == "off") return "";
  if (!named.empty()) return named;
  if (const std::string cache = from_environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/metvox/tuner.tsv";
  const std::string home = from_environment("HOME");
  return home.empty() ? "" : home + "/.cache/metvox/tuner.tsv";
}

TunerCache& tuner_cache() {
  static TunerCache cache(tuner_cache_path());
  return cache;
}

namespace {

// One problem's candidates, tried one after another.
class Trials {
 public:
  Trials(TunerCache& cache, const std::string& key, std::span<const Candidate> candidates, const TrialRules& rules)
      : cache_(cache), key_(key), candidates_(candidates), rules_(rules) {}

  std::optional<size_t> known() {
    if (const auto name = cache_.find(key_))
      for (size_t i = 0; i < candidates_.size(); ++i)
        if (candidates_[i].name == *name) return i;
    return std::nullopt;
  }

  size_t choose() {
    TrialMark mark(cache_.path().empty() ? "" : cache_.path() + ".trying");
    cache_.read_again();
    heed(mark.left_over());
    if (const auto found = known()) return *found;
    std::optional<size_t> best, first;
    double best_ms = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < candidates_.size(); ++i) {
      if (cache_.is_left_out(key_, candidates_[i].name)) {
        tell_left_out(candidates_[i].name);
        continue;
      }
      if (!first) first = i;
      mark.set(sentence(key_, '\t', candidates_[i].name));
      const auto ms = try_out(candidates_[i], best_ms);
      if (!ms) break;
      if (*ms < best_ms) best = i, best_ms = *ms;
    }
    if (!first) fail(Fault::internal, "tuner: every way to compute ", key_, " is left out; see ", cache_.path());
    if (!wrong_.empty())
      tell(sentence("tuner: errors above ", rules_.largest_error, " for ", key_, " (", wrong_, ")",
                    best ? "" : "; nothing is right, so the first engine is taken: check the device"));
    if (best) cache_.put(key_, candidates_[*best].name, best_ms);
    return best.value_or(*first);
  }

 private:
  // Its time, infinite where it failed or is wrong; nothing where there is no memory for trials.
  std::optional<double> try_out(const Candidate& c, double best_ms) {
    const Watchdog watchdog(rules_.seconds, [&] {
      cache_.leave_out(key_, c.name);
      tell(sentence("tuner: ", c.name, " did not come back within ", rules_.seconds, " s for ", key_,
                    "; metvox ends here and leaves it out when it is started again"));
      _exit(static_cast<int>(Fault::internal));
    });
    try {
      const Measured m = c.measure(best_ms);
      log("dispatch", "tuner,", key_, ",", c.name, ",", m.ms, " ms,error ", m.error);
      if (m.error <= rules_.largest_error) return m.ms;
      wrong_ += sentence(wrong_.empty() ? "" : ", ", c.name, ": ", m.error);
    } catch (const Error& e) {
      if (e.fault() == Fault::memory) return std::nullopt;
      log("dispatch", "tuner,", key_, ",", c.name, ",failed,", e.what());
      check_device(c.name);
    }
    return std::numeric_limits<double>::infinity();
  }

  // After a fault of its memory accesses a GPU does nothing more for this process.
  void check_device(const std::string& name) {
    try {
      rules_.check_device();
    } catch (const Error& e) {
      cache_.leave_out(key_, name);
      fail(Fault::internal, "tuner: ", name, " broke the device while it was tried for ", key_, " (", e.what(),
           "); start metvox again: it will be left out");
    }
  }

  // What an earlier process was trying when it ended: key and name.
  void heed(const std::string& left_over) {
    const size_t tab = left_over.find('\t');
    if (tab == std::string::npos) return;
    const std::string key = left_over.substr(0, tab), name = left_over.substr(tab + 1);
    if (printable(key) && printable(name)) cache_.leave_out(key, name);
  }

  void tell_left_out(const std::string& name) {
    tell(sentence("tuner: ", name, " is left out for ", key_,
                  ": an earlier metvox ended over it, or it broke the device",
                  cache_.path().empty() ? "" : "; to have it tried again, delete its line in " + cache_.path()));
  }

  TunerCache& cache_;
  const std::string& key_;
  std::span<const Candidate> candidates_;
  const TrialRules& rules_;
  std::string wrong_;
};

}  // namespace

size_t fastest(TunerCache& cache, const std::string& key, std::span<const Candidate> candidates,
               const TrialRules& rules) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  Trials trials(cache, key, candidates, rules);
  if (const auto known = trials.known()) return *known;
  return trials.choose();
}

void tell_of_trials() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string path = tuner_cache_path();
    tell(sentence("timing the ways to compute each convolution on this GPU; ",
                  path.empty() ? "METVOX_TUNER_CACHE=off: every time" : "once, for " + path));
  });
}

double time_runs(Stream& stream, const std::function<void(int)>& run, double best_ms, int turns) {
  constexpr double kBatchMs = 4, kLaunchesMs = 0.05;  // the latter: what launches may add to a run that is not recorded
  constexpr int kBatches = 3, kMostRuns = 1024;
  Event from(stream.device()), to(stream.device());
  const auto batch = [&](int runs) {
    from.record(stream);
    for (int i = 0; i < runs; ++i) run(i);
    to.record(stream);
  };
  const auto ms_a_run = [&](int runs) {
    stream.synchronize();
    return ms_between(from, to) / runs;
  };
  batch(1);
  batch(2);
  const double once = ms_a_run(2);
  if (once > 3 * best_ms + kLaunchesMs) return once;
  const int wanted = std::clamp(static_cast<int>(kBatchMs / std::max(once, 1e-3)), 1, kMostRuns);
  const int runs = (wanted + turns - 1) / turns * turns;
  Replay replay;
  double least = std::numeric_limits<double>::infinity();
  for (int b = 0; b <= kBatches; ++b) {
    replay.run(stream, [&] { batch(runs); });
    const double ms = ms_a_run(runs);
    if (b > 0) least = std::min(least, ms);  // the first is not recorded yet
  }
  return least;
}

}  // namespace metvox
