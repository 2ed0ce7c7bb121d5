// SPDX-License-Identifier: Apache-2.0
// Files of torch.save(): a zip archive with a pickle and a member for each storage. Read as data (io/pickle.h), and
// written so that torch.load(..., weights_only=True) takes them. Source: PyTorch's torch/serialization.py.
#pragma once
#include "io/pickle.h"
#include "io/zip.h"
#include "tensor/tensor.h"

namespace metvox {

class TorchFile {
 public:
  // Reads the pickle, and no tensor. Throws Error (Fault::input) naming the file; files of PyTorch before 1.6 and
  // TorchScript programs are refused with what to do.
  explicit TorchFile(const Path& path);
  const Path& path() const { return zip_.path(); }
  PickleValue root() const { return pickle_.root(); }
  // A dense copy of the tensor, on the host. Throws Error (Fault::input) when its type or rank is none of ours, or the
  // archive does not hold what the pickle says. `name` is for errors.
  Tensor read(const PickledTensor& tensor, const std::string& name);

 private:
  std::string find_folder() const;
  const Bytes& storage(const PickledTensor& tensor, uint64_t bytes, const std::string& name);
  ZipFile zip_;
  std::string folder_;  // of the archive, with a slash
  Pickle pickle_;
  std::string last_;  // the storage read last: views of one mostly follow each other
  Bytes last_bytes_;
};

// A tensor (f32, on the host) under its name.
struct TorchEntry {
  std::string name;
  View tensor;
};
// Writes the dict {`key`: OrderedDict of tensors, and what `others` holds}. Entries that share memory share a storage.
void write_torch_file(const Path& path, const std::string& key, const std::vector<TorchEntry>& tensors,
                      const Json& others);

}  // namespace metvox
