// SPDX-License-Identifier: Apache-2.0
// Networks, found by name (plans, --network and checkpoints name them). A network registers its parameters in a store
// under PyTorch's names and draws itself into any graph.
#pragma once
#include <map>
#include <memory>

#include "layers/parameter.h"
#include "segmentation/data/plans.h"

namespace metvox {

class Network {
 public:
  virtual ~Network() = default;
  // How many outputs there are: 1 without deep supervision.
  virtual int outputs() const = 0;
  // Logits (N, heads, D, H, W) of the first `levels` outputs, highest resolution first. Parameters of the outputs left
  // out are not part of the graph, so no gradient and no decay reaches them. x is (N, C, D, H, W).
  virtual std::vector<Value> build(Value x, int levels) const = 0;
  // What the input's extents must be multiples of.
  virtual Int3 divisor() const = 0;
};

// What a network's training starts from, unless flags say otherwise.
struct TrainingDefaults {
  std::string optimizer = "sgd";
  double lr = 1e-2, momentum = 0.99, weight_decay = 3e-5, eps = 1e-8;
  std::string precision = "auto";  // of the activations: auto (what is fastest), f32, bf16 or f16
};

struct NetworkKind {
  std::unique_ptr<Network> (*make)(ParameterStore&, const Configuration&, int channels, int heads);
  TrainingDefaults defaults;
};
struct NetworkEntry {
  NetworkEntry(std::string name, NetworkKind kind);
};
const std::map<std::string, NetworkKind>& networks();
// Throws Error (Fault::usage) that lists the names there are.
const NetworkKind& find_network(const std::string& name);

}  // namespace metvox
