// SPDX-License-Identifier: Apache-2.0
// What devices other than the CPU do so that the host need not wait for them, nor they for the host: streams that wait
// for each other, pinned memory, recorded work (tensor/replay.h), moments, and names for what is under way.
#pragma once
#include "tensor/tensor.h"

namespace metvox {

// Of one kind of device; streams are handles of its DeviceDriver.
class AsyncDriver {
 public:
  virtual ~AsyncDriver() = default;
  // What `stream` is given from now on waits for what `other` was given until now.
  virtual void wait(void* stream, void* other) const = 0;
  // The device then copies from and to this memory of the host by itself, while the host goes on. False where it may
  // not be pinned; copies then take longer, and no unpin follows.
  virtual bool pin(int index, void* memory, size_t bytes) const noexcept = 0;
  virtual void unpin(int index, void* memory) const noexcept = 0;
  // What this thread gives to the stream between the two is not done but recorded, as a graph that a stream can be
  // given as one piece of work, many times. end_capture throws where something in between cannot be recorded: memory
  // taken, waiting.
  virtual void begin_capture(void* stream) const = 0;
  virtual void* end_capture(void* stream) const = 0;
  virtual void launch_graph(void* graph, void* stream) const = 0;
  virtual void release_graph(void* graph) const noexcept = 0;
  // Moments on streams (tensor/event.h). Recorded between begin_capture and end_capture, one is a part of the graph.
  virtual void* make_event(int index) const = 0;
  virtual void release_event(int index, void* event) const noexcept = 0;
  virtual void record_event(void* event, void* stream) const = 0;
  virtual double ms_between(void* from, void* to) const = 0;  // which both have passed
  // What this thread gives to streams in between carries the name, for profilers and reports.
  virtual void begin_range(const char* name) const = 0;
  virtual void end_range() const noexcept = 0;
};
// In the driver's own file, as DriverEntry.
struct AsyncDriverEntry {
  AsyncDriverEntry(Device::Kind kind, const AsyncDriver& driver);
};
const AsyncDriver& async_driver(Device device);

// What `stream` is given from now on waits for what `other`, of the same device, was given until now.
void wait_for(const Stream& stream, const Stream& other);
// Copies from the host; the call may return before it is done, so that the memory must stay as it is until the stream
// has been waited for.
void begin_upload(Stream& stream, const View& from, const View& to);

// Keeps a tensor of the host pinned for a device, where that is possible; nothing for the CPU.
class Pinned {
 public:
  Pinned(Tensor host, Device device);
  ~Pinned();
  Pinned(Pinned&& other) noexcept;
  Pinned& operator=(Pinned&&) = delete;

 private:
  Tensor host_;
  Device device_;
  bool pinned_ = false;
};

// A name for what this thread gives to the device during its life; nothing on the CPU.
class NamedRange {
 public:
  NamedRange(Device device, const std::string& name);
  ~NamedRange();
  NamedRange(const NamedRange&) = delete;
  NamedRange& operator=(const NamedRange&) = delete;

 private:
  const AsyncDriver* driver_;
};

}  // namespace metvox
