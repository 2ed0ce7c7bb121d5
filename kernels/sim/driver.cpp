// SPDX-License-Identifier: Apache-2.0
// The sim device as the tensor room sees it: memory of kernels/sim/memory.h, and work that is done when a call
// returns, or recorded (kernels/sim/capture.h).
#include "kernels/sim/capture.h"
#include "kernels/sim/memory.h"
#include "kernels/sim/simt.h"
#include "tensor/async.h"
#include "tensor/event.h"

namespace metvox {
namespace {

class SimDriver final : public DeviceDriver, public AsyncDriver {
 public:
  int count() const override { return 1; }
  DeviceFacts facts(int) const override { return {"simulated GPU", simt::options().arch, 0, 0}; }
  void* allocate(int, size_t bytes, std::string_view name) const override {
    simt::refuse_in_capture("memory is taken");
    return simt::device_allocate(bytes, std::string(name));
  }
  void release(int, void* memory) const noexcept override { simt::device_free(memory); }
  void copy(void* to, const void* from, size_t bytes, void*) const override {
    simt::give([=] { simt::device_copy(to, from, bytes); });
  }
  void fill(void* to, int byte, size_t bytes, void*) const override {
    simt::give([=] { simt::device_fill(to, static_cast<unsigned char>(byte), bytes); });
  }
  void* make_stream(int) const override { return nullptr; }
  void release_stream(int, void*) const noexcept override {}
  void synchronize(int, void*) const override { simt::refuse_in_capture("the device is waited for"); }
  void wait(void*, void*) const override {}

  bool pin(int, void*, size_t) const noexcept override { return true; }
  void unpin(int, void*) const noexcept override {}

  void begin_capture(void*) const override { simt::begin_capture(); }
  void* end_capture(void*) const override { return simt::end_capture(); }
  void launch_graph(void* graph, void*) const override { simt::replay(*static_cast<simt::Graph*>(graph)); }
  void release_graph(void* graph) const noexcept override { delete static_cast<simt::Graph*>(graph); }

  void* make_event(int) const override { return new double(0); }
  void release_event(int, void* event) const noexcept override { delete static_cast<double*>(event); }
  void record_event(void* event, void*) const override {
    simt::give([event] { *static_cast<double*>(event) = host_ms(); });
  }
  double ms_between(void* from, void* to) const override {
    return *static_cast<double*>(to) - *static_cast<double*>(from);
  }

  void begin_range(const char* name) const override { simt::begin_range(name); }
  void end_range() const noexcept override { simt::end_range(); }
};

const SimDriver driver;
const DriverEntry entry{Device::Kind::sim, driver};
const AsyncDriverEntry async_entry{Device::Kind::sim, driver};

}  // namespace
}  // namespace metvox
