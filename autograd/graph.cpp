// SPDX-License-Identifier: Apache-2.0
#include "autograd/graph.h"

namespace metvox {

Spec in_memory(const ValueSpec& spec, const Target& target) {
  const DType master = target.dtype == DType::f64 ? DType::f64 : DType::f32;
  switch (spec.kind) {
    case Kind::activation: return {spec.shape, target.dtype};
    case Kind::labels: return {spec.shape, DType::u8};
    case Kind::parameter:
    case Kind::result: break;
  }
  return {spec.shape, master};
}

Value Graph::input(const std::string& name, const ValueSpec& spec) {
  check(spec.kind != Kind::parameter, "Graph::input: ", name, " is a parameter");
  nodes_.push_back({name, nullptr, {}, spec, -1});
  return {this, static_cast<int>(nodes_.size()) - 1};
}

Value Graph::parameter(const std::string& name, const Shape& shape, int64_t first) {
  nodes_.push_back({name, nullptr, {}, {shape, Kind::parameter}, first});
  return {this, static_cast<int>(nodes_.size()) - 1};
}

Value Graph::add(std::shared_ptr<const Op> op, const std::vector<Value>& in) {
  std::vector<ValueSpec> specs;
  std::vector<int> ids;
  for (const Value& v : in) {
    check(v.graph == this, op->name(), ": an input belongs to another graph");
    specs.push_back(nodes_[static_cast<size_t>(v.id)].spec);
    ids.push_back(v.id);
  }
  const std::string name = scope_.empty() ? std::string(op->name()) : scope_ + " " + std::string(op->name());
  try {
    nodes_.push_back({name, op, ids, op->infer(specs), -1});
  } catch (const Error& error) {
    throw scope_.empty() ? error : Error(error.fault(), scope_ + ": " + error.what());
  }
  return {this, static_cast<int>(nodes_.size()) - 1};
}

}  // namespace metvox
