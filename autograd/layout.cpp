// SPDX-License-Identifier: Apache-2.0
#include "autograd/layout.h"

#include <algorithm>

#include "kernels/moments.h"
#include "tensor/align.h"

namespace metvox {
namespace {

// Touching ranges joined, in order.
std::vector<Range> merged(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> out;
  for (const Range& r : ranges) {
    if (!out.empty() && out.back().first + out.back().count == r.first) out.back().count += r.count;
    else out.push_back(r);
  }
  return out;
}

// What `of` depends on, itself included.
std::vector<bool> ancestors(const Graph& graph, const std::vector<int>& of) {
  std::vector<bool> in(graph.nodes().size());
  for (int o : of) in[o] = true;
  for (size_t i = in.size(); i-- > 0;)
    if (in[i])
      for (int j : graph.nodes()[i].in) in[j] = true;
  return in;
}

}  // namespace

Layout::Layout(const Graph& g, const std::vector<Value>& out, Mode m, const Target& t)
    : graph(g), mode(m), target(t), n(static_cast<int>(g.nodes().size())) {
  check(!out.empty(), "Program: no outputs");
  for (const Value& v : out) outputs.push_back(v.id);
  find_needs();
  prepare();
  if (mode == Mode::train) find_trained();
  value.assign(n, -1);
  gradient.assign(n, -1);
  moments.assign(n, -1);
  saved.assign(n, -1);
  scratch.assign(2 * n, -1);
  slots.resize(n);
  for (int i = 0; i < n; ++i) lay_out_forward(i);
  for (int o : outputs) touch(value[o], end());
  if (mode == Mode::train) lay_out_backward();
  plan = std::make_unique<Plan>(wanted_);
  if (!verbose("plan")) return;
  std::vector<std::string> names;
  for (const Node& nd : graph.nodes()) names.push_back(nd.name);
  log("plan", plan->describe_peak(names));
}

void Layout::find_needs() {
  used_ = ancestors(graph, outputs);
  needs_.assign(n, false);
  consumers_.assign(n, 0);
  for (int o : outputs) ++consumers_[o];  // who reads it after the run
  for (int i = 0; i < n; ++i)
    if (used_[i])
      for (int j : node(i).in) ++consumers_[j];
  if (mode == Mode::infer) return;
  const std::vector<bool> of_loss = ancestors(graph, {outputs[0]});
  for (int i = 0; i < n; ++i) {
    if (!of_loss[i]) continue;
    needs_[i] = is_parameter(i);
    for (int j : node(i).in) needs_[i] = needs_[i] || needs_[j];
  }
}

// Of which nodes some used op takes moments.
std::vector<bool> Layout::moments_wanted() const {
  std::vector<bool> wanted(n);
  for (int i = 0; i < n; ++i)
    for (int k = 0; node(i).op && used_[i] && k < static_cast<int>(node(i).in.size()); ++k)
      if (node(i).op->takes_moments(k)) wanted[node(i).in[k]] = true;
  return wanted;
}

Spec Layout::moments_spec(int i) const {
  const Shape& y = node(i).spec.shape;
  return {moments_shape(y[0], y[1], prepared[i]->moment_chunks()), DType::f32};
}

void Layout::prepare() {
  const std::vector<bool> wanted = moments_wanted();
  prepared.resize(n);
  packed_offset.resize(n);
  for (int i = 0; i < n; ++i) {
    const Node& nd = node(i);
    if (!nd.op || !used_[i]) continue;
    std::vector<Spec> x;
    Setting setting{{}, spec(i), {}, target};
    for (int j : nd.in) {
      x.push_back(spec(j));
      setting.wants_gradient.push_back(needs_[j]);
      setting.x_moment_chunks.push_back(prepared[j] ? prepared[j]->moment_chunks() : 0);
    }
    setting.x = x;
    setting.wants_moments = wanted[i];
    prepared[i] = nd.op->prepare(setting);
    packed_offset[i] = packed_bytes;
    packed_bytes += aligned(prepared[i]->packed_bytes());
  }
}

void Layout::find_trained() {
  std::vector<Range> ranges;
  for (int i = 0; i < n; ++i) {
    if (!is_parameter(i) || (used_[i] && !needs_[i])) continue;
    ranges.push_back({node(i).first, node(i).spec.shape.size()});
    if (!used_[i]) unread.push_back(i);
  }
  trained = merged(ranges);
}

int Layout::wish(Buffer::Role role, int i, size_t bytes, int input) {
  Buffer b;
  b.role = role;
  b.node = i;
  b.input = input;
  b.bytes = bytes;
  wanted_.push_back(b);
  return static_cast<int>(wanted_.size()) - 1;
}

void Layout::touch(int buffer, int time) {
  if (buffer >= 0) wanted_[buffer].touch(time);
}

void Layout::lay_out_forward(int i) {
  const Node& nd = node(i);
  if (!used_[i] || is_parameter(i)) return;
  value[i] = forward_in_place(i);
  if (value[i] < 0) value[i] = wish(Buffer::Role::value, i, spec(i).bytes());
  if (!nd.op) {  // an input stays for the whole run, so that a run can be repeated
    touch(value[i], 0);
    touch(value[i], end());
    return;
  }
  touch(value[i], i);
  for (int j : nd.in) touch(value[j], i);
  if (prepared[i]->moment_chunks()) {
    moments[i] = wish(Buffer::Role::moments, i, moments_spec(i).bytes());
    touch(moments[i], i);
  }
  for (int k = 0; k < static_cast<int>(nd.in.size()); ++k)
    if (nd.op->takes_moments(k)) touch(moments[nd.in[k]], i);
  if (size_t bytes = prepared[i]->forward_scratch_bytes()) {
    scratch[i] = wish(Buffer::Role::scratch, i, bytes);
    touch(scratch[i], i);
  }
  if (size_t bytes = prepared[i]->saved_bytes()) {
    saved[i] = wish(Buffer::Role::saved, i, bytes);
    touch(saved[i], i);
    if (needs_[i]) touch(saved[i], backward_time(i));
  }
}

// The buffer of an input that nobody else looks at, where the op may write over it; else -1.
int Layout::forward_in_place(int i) const {
  const Node& nd = node(i);
  if (!nd.op || mode == Mode::train) return -1;
  for (int k = 0; k < static_cast<int>(nd.in.size()); ++k)
    if (prepared[i]->in_place(k) && node(nd.in[k]).op && consumers_[nd.in[k]] == 1) return value[nd.in[k]];
  return -1;
}

void Layout::lay_out_backward() {
  std::vector<bool> written(n, false);
  const int loss = outputs[0];
  check(needs_[loss], "Program: the loss does not depend on any parameter");
  gradient[loss] = wish(Buffer::Role::gradient, loss, spec(loss).bytes());
  for (int i = n - 1; i >= 0; --i) {
    const Node& nd = node(i);
    if (!nd.op || !needs_[i]) continue;
    const int b = backward_time(i);
    touch(gradient[i], b);
    if (size_t bytes = prepared[i]->backward_scratch_bytes()) {
      scratch[n + i] = wish(Buffer::Role::scratch, i, bytes);
      touch(scratch[n + i], b);
    }
    if (nd.op->reads_output()) touch(value[i], b);
    for (int k = 0; k < static_cast<int>(nd.in.size()); ++k) {
      if (nd.op->reads_input(k)) touch(value[nd.in[k]], b);
      slots[i].push_back(gradient_slot(i, k, written));
    }
  }
}

GradientSlot Layout::gradient_slot(int i, int k, std::vector<bool>& written) {
  const int j = node(i).in[k], b = backward_time(i);
  if (!needs_[j]) return {};
  GradientSlot slot{written[j] ? Grad::accumulate : Grad::overwrite, -1};
  written[j] = true;
  if (is_parameter(j)) return slot;
  const size_t bytes = spec(j).bytes();
  if (gradient[j] < 0) gradient[j] = prepared[i]->in_place(k) ? gradient[i] : wish(Buffer::Role::gradient, j, bytes);
  touch(gradient[j], b);
  if (slot.mode == Grad::accumulate && !prepared[i]->accumulates(k)) {
    slot.temporary = wish(Buffer::Role::temporary, i, bytes, k);
    touch(slot.temporary, b);
  }
  return slot;
}

}  // namespace metvox
