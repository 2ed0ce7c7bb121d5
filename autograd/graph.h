// SPDX-License-Identifier: Apache-2.0
// Graph: an append-only list of nodes, hence always in topological order. Value: a handle to one node's output.
// Building a graph allocates and computes nothing; shapes are checked at once.
#pragma once
#include <string>
#include <vector>

#include "autograd/op.h"

namespace metvox {

class Graph;

struct Value {
  Graph* graph = nullptr;
  int id = -1;
  const Shape& shape() const;
  explicit operator bool() const { return graph != nullptr; }
};

struct Node {
  std::string name;              // "encoder.stages.0.convs.0.conv", for plans, profiles and errors
  std::shared_ptr<const Op> op;  // none: an input or a parameter
  std::vector<int> in;
  ValueSpec spec;
  int64_t first = -1;  // a parameter's first element in the store's flat buffers
};

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Value input(const std::string& name, const ValueSpec& spec);
  // Elements [first, first + size) of the flat buffers. A parameter that no op reads still counts as trained: its
  // gradient is zero (a convolution's bias before an instance norm).
  Value parameter(const std::string& name, const Shape& shape, int64_t first);
  // Errors carry the node's name: the current scope, then the op's name.
  Value add(std::shared_ptr<const Op> op, const std::vector<Value>& in);
  void scope(const std::string& name) { scope_ = name; }

  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  std::vector<Node> nodes_;
  std::string scope_;
};

inline const Shape& Value::shape() const { return graph->nodes()[static_cast<size_t>(id)].spec.shape; }

}  // namespace metvox
