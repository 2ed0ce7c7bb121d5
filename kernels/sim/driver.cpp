// SPDX-License-Identifier: Apache-2.0
// The sim device as the tensor room sees it: memory of kernels/sim/memory.h, and work that is done when a call returns.
#include "kernels/sim/memory.h"
#include "kernels/sim/simt.h"
#include "tensor/device.h"

namespace metvox {
namespace {

class SimDriver final : public DeviceDriver {
 public:
  int count() const override { return 1; }
  DeviceFacts facts(int) const override { return {"simulated GPU", simt::options().arch, 0, 0}; }
  void* allocate(int, size_t bytes, std::string_view name) const override {
    return simt::device_allocate(bytes, std::string(name));
  }
  void release(int, void* memory) const noexcept override { simt::device_free(memory); }
  void copy(void* to, const void* from, size_t bytes, void*) const override { simt::device_copy(to, from, bytes); }
  void fill(void* to, int byte, size_t bytes, void*) const override {
    simt::device_fill(to, static_cast<unsigned char>(byte), bytes);
  }
  void* make_stream(int) const override { return nullptr; }
  void release_stream(int, void*) const noexcept override {}
  void synchronize(int, void*) const override {}
};

const SimDriver driver;
const DriverEntry entry{Device::Kind::sim, driver};

}  // namespace
}  // namespace metvox
