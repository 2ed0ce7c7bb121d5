// SPDX-License-Identifier: Apache-2.0
#include "autograd/op_case.h"

#include "autograd/ops/cast.h"

namespace metvox {
namespace {

std::vector<OpCase>& registry() {
  static std::vector<OpCase> cases;
  return cases;
}

}  // namespace

OpCaseEntry::OpCaseEntry(OpCase c) { registry().push_back(std::move(c)); }
const std::vector<OpCase>& op_cases() { return registry(); }

// A case that is built twice on one builder gets the same inputs again.
Value CaseBuilder::parameter(const std::string& name, const Shape& shape) {
  for (size_t i = 0; i < graph_.nodes().size(); ++i)
    if (graph_.nodes()[i].name == name) return {&graph_, static_cast<int>(i)};
  const Value value = graph_.parameter(name, shape, parameters_);
  parameters_ += (shape.size() + 15) / 16 * 16;  // each leaf on a cache line of its own, as in a store
  return value;
}

// Activations are leaves too, so that their gradients are checked like those of parameters.
Value CaseBuilder::activation(const std::string& name, const Shape& shape) { return cast(parameter(name, shape)); }

Value CaseBuilder::labels(const std::string& name, const Shape& shape, int count) {
  for (const Input& input : inputs_)
    if (graph_.nodes()[static_cast<size_t>(input.value.id)].name == name) return input.value;
  const Value value = graph_.input(name, {shape, Kind::labels});
  inputs_.push_back({value, count});
  return value;
}

}  // namespace metvox
