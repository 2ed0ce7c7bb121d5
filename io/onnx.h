// SPDX-License-Identifier: Apache-2.0
// A neural network as an ONNX file: nodes, weights, inputs and outputs, in protobuf's wire format, of which ONNX needs
// four kinds of field. Source: onnx/onnx.proto (IR version 8, opset 17); protobuf.dev/programming-guides/encoding.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "io/files.h"
#include "tensor/tensor.h"

namespace metvox {

struct OnnxAttribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

class OnnxFile {
 public:
  // An extent below 0 may be anything; it is called N.
  void input(const std::string& name, const std::vector<int64_t>& extents);
  void output(const std::string& name, const std::vector<int64_t>& extents);
  // f32, on the host; the bytes are copied.
  void weight(const std::string& name, const View& values, const std::vector<int64_t>& extents);
  void integers(const std::string& name, const std::vector<int64_t>& values);
  void node(const std::string& type, const std::string& name, const std::vector<std::string>& inputs,
            const std::string& output, const std::vector<OnnxAttribute>& attributes = {});
  void note(const std::string& key, const std::string& value);
  // Throws Error (Fault::input) above 2 GiB, which protobuf cannot.
  void write(const Path& path, const std::string& graph_name, const std::string& producer) const;

 private:
  std::string nodes_, weights_, inputs_, outputs_, notes_;
};

}  // namespace metvox
