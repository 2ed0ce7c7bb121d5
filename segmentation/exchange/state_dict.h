// SPDX-License-Identifier: Apache-2.0
// A network's weights as PyTorch's modules name them. nnU-Net's modules hold the same weights under several names
// (NAME.conv is also NAME.all_modules.0, decoder.encoder is the encoder): read, they must be one tensor; written, all
// of them are there, because nnU-Net loads strictly. 2-D weights have no first kernel axis there.
#pragma once
#include "io/torch_file.h"
#include "layers/parameter.h"

namespace metvox {

class StateDict {
 public:
  // `weights`: a dict of tensors in `file`, which must outlive this. Prefixes of wrappers ("module.", "_orig_mod.",
  // "network.") are dropped. Throws Error (Fault::input) when one weight has two values.
  StateDict(TorchFile& file, const PickleValue& weights);
  bool has(const std::string& name) const { return tensors_.contains(name); }
  // Extents of a tensor; an Error naming it when it is not there.
  const std::vector<int64_t>& shape(const std::string& name) const;
  // Throws Error (Fault::input) that names a weight that is missing, one that the network has not, or one of another
  // shape. Reads no tensor.
  void require_fits(const ParameterStore& store) const;
  // All parameters of the store, converted; not finite ones are an Error.
  void load(ParameterStore& store);

 private:
  TorchFile& file_;
  std::map<std::string, PickledTensor> tensors_;
};

// All the names that a parameter of `store` has in a state dict of nnU-Net, its own first.
std::vector<std::string> torch_names(const ParameterStore& store, const std::string& name);

}  // namespace metvox
