// SPDX-License-Identifier: Apache-2.0
// Program: a graph with every byte and every step decided before anything runs. Nothing allocates in a run; the peak is
// known from the plan. Train programs run forward and backward, inference programs forward only.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "autograd/graph.h"
#include "autograd/plan.h"
#include "kernels/optimize.h"

namespace metvox {

// Memory on one device that several programs take turns in; as large as the largest. Taken at the first run, not
// before.
class Arena {
 public:
  explicit Arena(Device device = {}) : device_(device) {}
  Device device() const { return device_; }
  void require(size_t bytes) { bytes_ = std::max(bytes_, bytes); }
  size_t bytes() const { return bytes_; }
  std::byte* memory();  // allocated at the first call; no require() beyond it afterwards

 private:
  Device device_;
  size_t bytes_ = 0;
  Tensor memory_;
};

// The parameters' flat buffers on the target's device, owned by a store. version changes with the values.
struct ParameterBuffers {
  View values, grads;  // master type; grads empty at inference
  const uint64_t* version = nullptr;
};

enum class Mode { train, infer };

// arena: values share one arena by the plan. guarded: each value in a block of its own between sentinels, NaN before
// its life and after it, for tests; results are the same bits.
enum class Placement { arena, guarded };

class Program {
 public:
  // outputs[0] is the loss in train mode (its element 0 is differentiated). Values named in outputs stay readable after
  // a run.
  Program(const Graph& graph, const std::vector<Value>& outputs, Mode mode, const Target& target,
          const ParameterBuffers& parameters, std::shared_ptr<Arena> arena, Placement placement = Placement::arena);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Copies from the host or the device, converting on the side of the data.
  void set(Stream&, Value input, View data);
  // An input, or a value named in outputs, on the target's device.
  View view(Value value) const;
  // The same, waited for and copied to the host, into `to` converted to its type.
  Tensor read(Stream&, Value value) const;
  void read(Stream&, Value value, View to);
  // Backward begins with this number (f64 (1), on the target's device) instead of 1.
  void scale_loss(View factor);
  void run(Stream&);  // forward, then backward in train mode
  void forward(Stream&);
  // Overwrites the gradients of every parameter of the graph; with ranks, by the sum over all of them.
  void backward(Stream&);

  // Ranges of the flat buffers that this program gives gradients for: what an optimizer steps on.
  const std::vector<Range>& trained() const;
  size_t arena_bytes() const;
  size_t packed_bytes() const;  // packed copies of the weights
  const Plan& plan() const;
  // One run, step by step: the steps of the ops in the graph's order, by the device's own clock. A GPU does not wait
  // between them: it replays the run from a recording in which each step is followed by an event (tensor/event.h), as
  // training replays its steps. start_ms counts from the run's begin; backward's are 0 where a step has none.
  struct Timing {
    std::string name, op;
    struct Part {
      Work work;
      double start_ms = 0, ms = 0;
    } forward, backward;
  };
  std::vector<Timing> time(Stream&);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metvox
