// SPDX-License-Identifier: Apache-2.0
// Device: where memory lies and work runs. Stream: ordered work on one device; on the CPU work is done when the
// call returns, and a stream holds nothing.
#pragma once
#include <compare>
#include <string>

namespace metvox {

struct Device {
  enum class Kind { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;
  auto operator<=>(const Device&) const = default;
};

inline std::string name_of(Device d) { return d.kind == Device::Kind::cpu ? "cpu" : "cuda:" + std::to_string(d.index); }

class Stream {
 public:
  explicit Stream(Device device = {}) : device_(device) {}
  Stream(Stream&&) = default;
  Stream& operator=(Stream&&) = default;
  Device device() const { return device_; }

 private:
  Device device_;
};

}  // namespace metvox
