// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/capture.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "tensor/error.h"

namespace simt {
namespace {

std::atomic<int64_t> pieces_kept{0}, graphs_replayed{0};
thread_local std::unique_ptr<Graph> recorded;
thread_local std::vector<const char*> ranges;

const char* kept(const std::string& name) {
  static std::mutex mutex;
  static std::set<std::string> all;
  const std::lock_guard lock(mutex);
  return all.insert(name).first->c_str();
}

}  // namespace

void begin_capture() {
  metvox::check(!recorded, "sim: this thread is recording already");
  recorded = std::make_unique<Graph>();
}

Graph* end_capture() {
  metvox::check(recorded != nullptr, "sim: this thread is not recording");
  return recorded.release();
}

void replay(const Graph& graph) {
  ++graphs_replayed;
  for (const auto& work : graph.work) give(work);
}

bool is_recording() { return recorded != nullptr; }

void give(std::function<void()> work) {
  if (!recorded) return work();
  ++pieces_kept;
  recorded->work.push_back(std::move(work));
}

void refuse_in_capture(const char* what) {
  if (recorded) metvox::fail(metvox::Fault::internal, "sim: ", what, " while work is recorded");
}

void begin_range(const char* name) { ranges.push_back(kept(name)); }
void end_range() { ranges.pop_back(); }
const char* range() { return ranges.empty() ? "" : ranges.back(); }

Counts counts() { return {pieces_kept, graphs_replayed}; }

}  // namespace simt
