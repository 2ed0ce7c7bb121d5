// SPDX-License-Identifier: Apache-2.0
#include "io/pickle.h"

#include "io/unpickler.h"

namespace metvox {

Pickle::Pickle(std::span<const std::byte> bytes, const Path& named) : named_(named) {
  Unpickler unpickler(bytes, named, nodes_);
  root_ = unpickler.run();
}

PickleValue Pickle::root() const { return {*this, root_, named_.string()}; }

void PickleValue::fail_kind(const char* expected) const { fail(Fault::input, where_, ": is not ", expected); }

const std::string& PickleValue::text() const {
  if (kind() != Pickle::Kind::text) fail_kind("text");
  return node().text;
}

const PickledTensor& PickleValue::tensor() const {
  if (kind() != Pickle::Kind::tensor) fail_kind("a tensor");
  return *node().tensor;
}

std::vector<std::pair<std::string, PickleValue>> PickleValue::entries() const {
  if (kind() != Pickle::Kind::dict) fail_kind("a dict");
  std::vector<std::pair<std::string, PickleValue>> out;
  const std::vector<int>& items = node().items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const Pickle::Node& key = pickle_->nodes_[static_cast<size_t>(items[i])];
    if (key.kind == Pickle::Kind::text)
      out.emplace_back(key.text, PickleValue(*pickle_, items[i + 1], where_ + ": " + key.text));
  }
  return out;
}

std::optional<PickleValue> PickleValue::find(const std::string& key) const {
  if (kind() != Pickle::Kind::dict) return std::nullopt;
  const std::vector<int>& items = node().items;
  for (size_t i = items.size(); i >= 2; i -= 2) {  // of equal keys the last one counts
    const Pickle::Node& name = pickle_->nodes_[static_cast<size_t>(items[i - 2])];
    if (name.kind == Pickle::Kind::text && name.text == key)
      return PickleValue(*pickle_, items[i - 1], where_ + ": " + key);
  }
  return std::nullopt;
}

Json PickleValue::json() const {
  int64_t left = 1'000'000;
  return json(0, left);
}

Json PickleValue::json(int depth, int64_t& left) const {
  constexpr int kDeepest = 64;
  if (depth > kDeepest || --left < 0) fail_kind("data of a size that a checkpoint has");
  const Pickle::Node& n = node();
  const auto inner = [&](int id) { return PickleValue(*pickle_, id, where_).json(depth + 1, left); };
  switch (kind()) {
    case Pickle::Kind::none: return nullptr;
    case Pickle::Kind::boolean: return n.integer != 0;
    case Pickle::Kind::integer: return n.integer;
    case Pickle::Kind::real: return n.real;
    case Pickle::Kind::text: return n.text;
    case Pickle::Kind::list:
    case Pickle::Kind::tuple:
    case Pickle::Kind::array: {
      Json list = Json::array();
      for (int id : n.items) list.push_back(inner(id));
      return list;
    }
    case Pickle::Kind::dict: {
      Json object = Json::object();
      for (size_t i = 0; i + 1 < n.items.size(); i += 2) {
        const Json key = inner(n.items[i]);
        object[key.is_string() ? key.get<std::string>() : key.dump()] = inner(n.items[i + 1]);
      }
      return object;
    }
    default: fail_kind("numbers, text, lists and dicts alone");
  }
}

}  // namespace metvox
