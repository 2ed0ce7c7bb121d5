// SPDX-License-Identifier: Apache-2.0
#include "kernels/tuner.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "kernels/cublas/library.h"
#include "kernels/cudnn/library.h"
#if METVOX_CUDA
#include <cuda_runtime_api.h>
#endif

namespace metvox {
namespace {

constexpr std::string_view kHeading = "# metvox tuner 1: key, engine, ms";
constexpr uintmax_t kMostBytes = 16 << 20;

void tell(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

// Versions of what a GPU's engines are made of.
std::string libraries() {
  std::string text;
#if METVOX_CUDA
  int version = 0;
  if (cudaDriverGetVersion(&version) == cudaSuccess) text += sentence(" driver ", version);
#endif
#if METVOX_CUBLAS
  if (cublas::library().why.empty()) text += " cublas " + cublas::library().version();
#endif
#if METVOX_CUDNN
  if (cudnn::library().why.empty()) text += sentence(" cudnn ", cudnn::library().get_version());
#endif
  return text;
}

}  // namespace

double largest_error(DType t, bool tf32) { return t == DType::bf16 ? 1e-2 : t == DType::f16 || tf32 ? 1e-3 : 1e-5; }

std::optional<std::string> TunerCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (!loaded_) entries_ = read(), loaded_ = true;
  const auto it = entries_.find(key);
  return it == entries_.end() ? std::nullopt : std::optional(it->second.name);
}

void TunerCache::put(const std::string& key, const std::string& name, double ms) {
  check(printable(key) && printable(name), "tuner: not a line's part: ", key, ", ", name);
  const std::lock_guard lock(mutex_);
  entries_[key] = {name, ms};
  if (path_.empty()) return;
  Entries others = read();
  entries_.merge(others);
  loaded_ = true;
  write();
}

TunerCache::Entries TunerCache::read() const {
  Entries found;
  std::error_code error;
  if (path_.empty() || !std::filesystem::exists(path_, error)) return found;
  const auto damaged = [&](const char* what) {
    tell(sentence(path_, ": ", what, "; the choices of engines it holds are not used and will be made anew"));
    return Entries();
  };
  if (const auto bytes = std::filesystem::file_size(path_, error); error || bytes > kMostBytes)
    return damaged(error ? "cannot be read" : "too large for what metvox writes there");
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != kHeading) return damaged("its first line is not metvox's");
  while (std::getline(file, line)) {
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    if (first == 0 || second == std::string::npos) return damaged("a line has not three parts");
    char* end = nullptr;
    const std::string key = line.substr(0, first), name = line.substr(first + 1, second - first - 1);
    const double ms = std::strtod(line.c_str() + second + 1, &end);
    if (*end || end == line.c_str() + second + 1 || !(ms >= 0) || !printable(key) || name.empty() || !printable(name))
      return damaged("a line has damaged parts");
    found[key] = {name, ms};
  }
  return found;
}

// A file that cannot be written costs time, not results.
void TunerCache::write() const {
  const std::string temporary = sentence(path_, ".", getpid());
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  std::ofstream file(temporary);
  file << kHeading << '\n';
  for (const auto& [key, found] : entries_) file << key << '\t' << found.name << '\t' << found.ms << '\n';
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

size_t fastest(TunerCache& cache, const std::string& key, std::span<const Candidate> candidates, double limit) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (const auto known = cache.find(key))
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].name == *known) return i;
  std::optional<size_t> best;
  double best_ms = std::numeric_limits<double>::infinity();
  std::string wrong;
  for (size_t i = 0; i < candidates.size(); ++i) try {
      const Measured m = candidates[i].measure(best_ms);
      log("dispatch", "tuner,", key, ",", candidates[i].name, ",", m.ms, " ms,error ", m.error);
      if (!(m.error <= limit)) wrong += sentence(wrong.empty() ? "" : ", ", candidates[i].name, ": ", m.error);
      else if (m.ms < best_ms) best = i, best_ms = m.ms;
    } catch (const Error& e) {
      if (e.fault() == Fault::memory) break;
      log("dispatch", "tuner,", key, ",", candidates[i].name, ",failed,", e.what());
    }
  if (!wrong.empty())
    tell(sentence("tuner: errors above ", limit, " for ", key, " (", wrong, ")",
                  best ? "" : "; nothing is right, so the first engine is taken: check the device"));
  if (best) cache.put(key, candidates[*best].name, best_ms);
  return best.value_or(0);
}

void tell_of_trials() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string path = tuner_cache_path();
    tell(sentence("timing the ways to compute each convolution on this GPU; ",
                  path.empty() ? "METVOX_TUNER_CACHE=off: every time" : "once, for " + path));
  });
}

std::string tuner_place(Device device) {
  static std::mutex mutex;
  static std::map<Device, std::string> places;
  const std::lock_guard lock(mutex);
  std::string& place = places[device];
  if (!place.empty()) return place;
  if (device.is_cpu()) return place = sentence("cpu metvox ", METVOX_VERSION);
  const DeviceFacts facts = driver(device).facts(device.index);
  std::string text = sentence(facts.model, " sm_", facts.arch / 10, " metvox ", METVOX_VERSION);
  if (device.kind == Device::Kind::cuda) text += libraries();
  return place = text;
}

double time_runs(Stream& stream, const std::function<void(int)>& run, double best_ms) {
  using Clock = std::chrono::steady_clock;
  constexpr double kBatchMs = 4;
  constexpr int kBatches = 3, kMostRuns = 1000;
  int next = 0;
  const auto batch_ms = [&](int runs) {
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) run(next++);
    stream.synchronize();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / runs;
  };
  batch_ms(1);
  const double once = batch_ms(2);
  if (once > 3 * best_ms) return once;
  const int runs = std::clamp(static_cast<int>(kBatchMs / std::max(once, 1e-3)), 1, kMostRuns);
  double least = batch_ms(runs);
  for (int b = 1; b < kBatches; ++b) least = std::min(least, batch_ms(runs));
  return least;
}

}  // namespace metvox
