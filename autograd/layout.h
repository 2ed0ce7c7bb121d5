// SPDX-License-Identifier: Apache-2.0
// Layout: what a Program decides before any memory exists. Which values the outputs need, which need a gradient, the
// prepared ops, the lifetime of every buffer and, by the plan, its place. Internal to autograd: Program runs what is
// laid out here.
#pragma once
#include <memory>
#include <vector>

#include "autograd/graph.h"
#include "autograd/plan.h"
#include "autograd/program.h"

namespace metvox {

// One input's gradient in one op's backward: where it goes, and through which temporary.
struct GradientSlot {
  Grad mode = Grad::ignore;
  int temporary = -1;  // index of a buffer, or -1
};

class Layout {
 public:
  Layout(const Graph& graph, const std::vector<Value>& outputs, Mode mode, const Target& target);

  const Node& node(int i) const { return graph.nodes()[static_cast<size_t>(i)]; }
  bool is_parameter(int i) const { return node(i).spec.kind == Kind::parameter; }
  Spec spec(int i) const { return in_memory(node(i).spec, target); }
  Spec moments_spec(int i) const;  // of those that the node gives
  int backward_time(int i) const { return 2 * n - 1 - i; }
  int end() const { return 2 * n; }

  const Graph& graph;
  std::vector<int> outputs;  // ids
  Mode mode;
  Target target;
  int n;                                             // nodes
  std::vector<std::unique_ptr<Prepared>> prepared;   // of each node; empty for leaves and for what no output needs
  std::vector<std::vector<GradientSlot>> slots;      // of each node's inputs
  std::vector<int> value, gradient, moments, saved;  // of each node: index of a buffer, or -1
  std::vector<int> scratch;                          // forward, then backward: two a node
  std::unique_ptr<Plan> plan;
  std::vector<Range> trained;  // parameters that get a gradient
  std::vector<int> unread;     // parameters that no op reads: their gradient is zero
  std::vector<size_t> packed_offset;
  size_t packed_bytes = 0;

 private:
  void find_needs();
  void prepare();
  std::vector<bool> moments_wanted() const;
  void find_trained();
  void lay_out_forward(int i);
  int forward_in_place(int i) const;
  void lay_out_backward();
  GradientSlot gradient_slot(int i, int k, std::vector<bool>& written);
  int wish(Buffer::Role role, int i, size_t bytes, int input = -1);
  void touch(int buffer, int time);

  std::vector<Buffer> wanted_;  // before placement
  std::vector<bool> used_;      // some output depends on it
  std::vector<bool> needs_;     // the loss depends on it, and it on a parameter
  std::vector<int> consumers_;  // how many inputs of used ops it is, outputs counted too
};

}  // namespace metvox
