// SPDX-License-Identifier: Apache-2.0
// safetensors: an 8-byte length, a JSON header, raw little-endian tensors; what PyTorch tools read. The header's
// "__metadata__" (string to string) carries plan, labels and state. Source: huggingface.co/docs/safetensors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/files.h"
#include "tensor/tensor.h"

namespace metvox {

struct NamedView {
  std::string name;
  View view;
};

// Tensors in the order given. Written to a temporary name and renamed.
void write_safetensors(const Path& path, const std::vector<NamedView>& tensors,
                       const std::map<std::string, std::string>& metadata);

struct SafeTensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};
// Reads all tensors. Every offset, length, overlap and name is checked before memory is taken; throws Error
// (Fault::input).
SafeTensors read_safetensors(const Path& path);
// The same tensors where they lie in the file, mapped into memory: the system keeps of them what there is room for.
// They may lie at odd addresses, but for the first, which is 8-byte aligned in files of ours.
class MappedSafeTensors {
 public:
  // resident: every page is brought in now.
  MappedSafeTensors(const Path& path, bool resident);
  ~MappedSafeTensors();
  MappedSafeTensors(const MappedSafeTensors&) = delete;
  MappedSafeTensors& operator=(const MappedSafeTensors&) = delete;
  const std::map<std::string, View>& tensors() const { return tensors_; }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  std::map<std::string, View> tensors_;
};
// Metadata and specs only.
struct SafeTensorsHeader {
  std::map<std::string, Spec> specs;
  std::map<std::string, std::string> metadata;
};
SafeTensorsHeader read_safetensors_header(const Path& path);

}  // namespace metvox
