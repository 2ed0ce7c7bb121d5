// SPDX-License-Identifier: Apache-2.0
#include "tensor/replay.h"

#include <atomic>
#include <cstdio>
#include <utility>

#include "tensor/async.h"

namespace metvox {

Replay::~Replay() {
  if (graph_) async_driver(device_).release_graph(graph_);
}

void Replay::run(Stream& stream, const std::function<void()>& work) {
  if (stream.device().is_cpu() || failed_ || runs_++ == 0) return work();
  if (!graph_ && !record(stream, work)) return work();
  async_driver(device_).launch_graph(graph_, stream.handle());
}

bool Replay::record(Stream& stream, const std::function<void()>& work) {
  device_ = stream.device();
  const AsyncDriver& d = async_driver(device_);
  std::string reason;
  const auto attempt = [&](const auto& step) {
    try {
      step();
      return true;
    } catch (const Error& error) {
      if (reason.empty()) reason = error.what();
      return false;
    }
  };
  if (attempt([&] { d.begin_capture(stream.handle()); })) {
    attempt(work);
    attempt([&] { graph_ = d.end_capture(stream.handle()); });
  }
  if (reason.empty()) return true;
  if (graph_) d.release_graph(std::exchange(graph_, nullptr));
  failed_ = true;
  static std::atomic_flag told;
  if (!told.test_and_set())
    std::fprintf(stderr, "%s\n",
                 sentence(name_of(device_), ": a step cannot be recorded (", reason,
                          "); its kernels are launched one by one, which takes a little longer")
                     .c_str());
  return false;
}

}  // namespace metvox
