// SPDX-License-Identifier: Apache-2.0
// Device: where memory lies and work runs. Stream: ordered work on one device; on the CPU (and on `sim`, the simulated
// GPU of kernels/sim) work is done when the call returns. DeviceDriver: what a device other than the CPU can do; the
// kernels room registers one a kind.
#pragma once
#include <compare>
#include <cstddef>
#include <string>
#include <string_view>

namespace metvox {

struct Device {
  enum class Kind { cpu, cuda, sim };
  Kind kind = Kind::cpu;
  int index = 0;
  bool is_cpu() const { return kind == Kind::cpu; }
  auto operator<=>(const Device&) const = default;
};

std::string name_of(Device d);  // "cpu", "cuda:1", "sim"

struct DeviceFacts {
  std::string model;
  int arch = 0;  // of CUDA: 10 times the compute capability, 900 for 9.0
  size_t memory_bytes = 0, free_bytes = 0;
};

// Calls on memory and streams of one kind of device. Addresses may be the host's or the device's; work is ordered on
// the stream, whose handle is the driver's own (a cudaStream_t). Errors are Error with Fault::memory, Fault::usage (no
// such device) or Fault::internal.
class DeviceDriver {
 public:
  virtual ~DeviceDriver() = default;
  virtual int count() const = 0;  // devices there are
  virtual DeviceFacts facts(int index) const = 0;
  // 256-byte aligned; `name` is for reports. Throws Error (Fault::memory) with the bytes asked for and those free.
  virtual void* allocate(int index, size_t bytes, std::string_view name) const = 0;
  virtual void release(int index, void* memory) const noexcept = 0;
  virtual void copy(void* to, const void* from, size_t bytes, void* stream) const = 0;
  virtual void fill(void* to, int byte, size_t bytes, void* stream) const = 0;
  virtual void* make_stream(int index) const = 0;
  virtual void release_stream(int index, void* stream) const noexcept = 0;
  virtual void synchronize(int index, void* stream) const = 0;
};

// const DriverEntry entry{Device::Kind::sim, driver}; in the driver's own file. The driver lives as long as the
// program.
struct DriverEntry {
  DriverEntry(Device::Kind kind, const DeviceDriver& driver);
};
// Throws Error (Fault::usage) where this build or this machine has no such device.
const DeviceDriver& driver(Device device);
// Devices of a kind: 1 for the CPU, 0 where there is no driver.
int device_count(Device::Kind kind);
bool built_for(Device::Kind kind);

class Stream {
 public:
  explicit Stream(Device device = {});
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&&) = delete;
  Device device() const { return device_; }
  void* handle() const { return handle_; }  // the driver's own; nullptr on the CPU
  void synchronize() const;                 // returns when all work given to it is done

 private:
  Device device_;
  void* handle_ = nullptr;
};

}  // namespace metvox
