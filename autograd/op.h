// SPDX-License-Identifier: Apache-2.0
// Op: an immutable node class with exactly one output. Prepared: the same op for fixed shapes, a device, a type and an
// engine, with its memory needs known. An op prepares once; its steps run many times and never allocate.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// What a value is decides its type in memory: an activation has the target's type, a parameter or result f32 (f64 with
// f64 activations), labels u8.
enum class Kind { activation, parameter, result, labels };

struct ValueSpec {
  Shape shape;
  Kind kind = Kind::activation;
};
Spec in_memory(const ValueSpec& spec, const Target& target);

// What one step sees. Views of values that nobody needs are empty.
struct Step {
  Stream& stream;
  std::span<const View> x;          // inputs
  View y;                           // output
  std::span<const View> x_moments;  // of inputs that forward() takes moments of, where they are given
  View y_moments;                   // which forward() writes, where it gives them
  void* saved = nullptr;            // kept from forward() to backward()
  void* packed = nullptr;           // written by pack(), kept while the parameters do not change
  void* scratch = nullptr;          // for the time of the call
  View dy;
  std::span<const View> dx;    // gradients of the inputs
  std::span<const Grad> grad;  // what to do with each
};

// What a pass of an op will do, for tables and profiles: on which engines ("onednn", "native+onednn" where the
// gradients of data and weights differ), and how many multiplications and additions (0: bound by memory).
struct Work {
  std::string engine;
  double flops = 0;
};
// The kernel that an op's table has for a problem; its engine and flops are added to the work.
template <class Table, class Problem>
auto prepare_kernel(const Table& table, const Problem& problem, const Target& target, Work& work) {
  auto choice = table.prepare(problem, target);
  if (work.engine.empty()) work.engine = choice.engine;
  else if (work.engine != choice.engine) work.engine += "+" + std::string(choice.engine);
  if constexpr (requires { problem.flops(); }) work.flops += problem.flops();
  return std::move(choice.kernel);
}
enum class Pass { forward, backward };

class Prepared {
 public:
  virtual ~Prepared() = default;
  // In how many chunks forward() gives moments of y (kernels/moments.h), should the setting want them; 0: not at all.
  virtual int64_t moment_chunks() const { return 0; }
  virtual size_t saved_bytes() const { return 0; }
  virtual size_t packed_bytes() const { return 0; }
  virtual size_t forward_scratch_bytes() const { return 0; }
  virtual size_t backward_scratch_bytes() const { return 0; }
  // Can backward() add to dx[input]? Where it cannot, the planner gives it a temporary and adds. Parameters: always.
  virtual bool accumulates(int /*input*/) const { return true; }
  // May y lie in x[input]'s memory where no backward follows, and dx[input] in dy's? True for
  // one input at most, whose shape and type are the output's; backward() then writes that dx last.
  virtual bool in_place(int /*input*/) const { return false; }
  // {"native"} of an op without a table of engines.
  virtual Work work(Pass) const = 0;
  virtual void pack(const Step&) const {}
  virtual void forward(const Step&) const = 0;
  virtual void backward(const Step&) const = 0;
};

// What an op is prepared for.
struct Setting {
  std::span<const Spec> x;
  Spec y;
  std::vector<bool> wants_gradient;  // of each input; all false at inference
  Target target;
  bool wants_moments = false;                 // does any op take moments of y?
  std::vector<int64_t> x_moment_chunks = {};  // of each input that is taken moments of; 0: none are given
};

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;
  // Shape of the output; throws Error on inputs that do not fit, at the line that builds the graph.
  virtual ValueSpec infer(std::span<const ValueSpec> x) const = 0;
  // Does backward() look at x[input], at y?
  virtual bool reads_input(int /*input*/) const { return true; }
  virtual bool reads_output() const { return false; }
  // Would forward() take moments of x[input] (kernels/moments.h), if the op that makes it gives them?
  virtual bool takes_moments(int /*input*/) const { return false; }
  virtual std::unique_ptr<Prepared> prepare(const Setting&) const = 0;
};

}  // namespace metvox
