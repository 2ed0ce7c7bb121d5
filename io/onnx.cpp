// SPDX-License-Identifier: Apache-2.0
#include "io/onnx.h"

#include <bit>

namespace metvox {
namespace {

constexpr int kIrVersion = 8, kOpset = 17;
constexpr int64_t kFloat = 1, kInt64 = 7;  // TensorProto.DataType

// A message under construction: fields of varints, bytes (texts, messages, packed numbers) and floats.
class Message {
 public:
  Message& varint(int field, uint64_t value) {
    raw(static_cast<uint64_t>(field) << 3);
    raw(value);
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    raw(static_cast<uint64_t>(field) << 3 | 2);
    raw(value.size());
    text_ += value;
    return *this;
  }
  Message& real(int field, float value) {
    raw(static_cast<uint64_t>(field) << 3 | 5);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Message& integers(int field, const std::vector<int64_t>& values) {
    for (int64_t v : values) varint(field, static_cast<uint64_t>(v));
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  void raw(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

// ValueInfoProto: f32 with these extents.
std::string value_info(const std::string& name, const std::vector<int64_t>& extents) {
  Message shape;
  for (int64_t e : extents) {
    Message dimension;
    if (e < 0) dimension.bytes(2, "N");
    else dimension.varint(1, static_cast<uint64_t>(e));
    shape.bytes(1, dimension.text());
  }
  const Message tensor = Message().varint(1, kFloat).bytes(2, shape.text()), type = Message().bytes(1, tensor.text());
  return Message().bytes(1, name).bytes(2, type.text()).text();
}

// TensorProto.
std::string tensor(const std::string& name, int64_t type, const std::vector<int64_t>& extents, const void* data,
                   size_t bytes) {
  Message m;
  m.integers(1, extents).varint(2, static_cast<uint64_t>(type)).bytes(8, name);
  m.bytes(9, {static_cast<const char*>(data), bytes});
  return m.text();
}

// AttributeProto; `type` says which of its fields holds the value.
std::string attribute(const OnnxAttribute& a) {
  constexpr int kType = 20;
  Message m;
  m.bytes(1, a.name);
  if (const auto* real = std::get_if<float>(&a.value)) m.real(2, *real).varint(kType, 1);
  else if (const auto* integer = std::get_if<int64_t>(&a.value))
    m.varint(3, static_cast<uint64_t>(*integer)).varint(kType, 2);
  else if (const auto* text = std::get_if<std::string>(&a.value)) m.bytes(4, *text).varint(kType, 3);
  else m.integers(8, std::get<std::vector<int64_t>>(a.value)).varint(kType, 7);
  return m.text();
}

}  // namespace

void OnnxFile::input(const std::string& name, const std::vector<int64_t>& extents) {
  inputs_ += Message().bytes(11, value_info(name, extents)).text();
}

void OnnxFile::output(const std::string& name, const std::vector<int64_t>& extents) {
  outputs_ += Message().bytes(12, value_info(name, extents)).text();
}

void OnnxFile::weight(const std::string& name, const View& values, const std::vector<int64_t>& extents) {
  check(values.dtype == DType::f32 && values.device.is_cpu(), "OnnxFile: ", name, " is not f32 on the host");
  weights_ += Message().bytes(5, tensor(name, kFloat, extents, values.data, values.bytes())).text();
}

void OnnxFile::integers(const std::string& name, const std::vector<int64_t>& values) {
  const std::vector<int64_t> extents{static_cast<int64_t>(values.size())};
  weights_ += Message().bytes(5, tensor(name, kInt64, extents, values.data(), values.size() * sizeof(int64_t))).text();
}

void OnnxFile::node(const std::string& type, const std::string& name, const std::vector<std::string>& inputs,
                    const std::string& output, const std::vector<OnnxAttribute>& attributes) {
  Message m;
  for (const std::string& x : inputs) m.bytes(1, x);
  m.bytes(2, output).bytes(3, name).bytes(4, type);
  for (const OnnxAttribute& a : attributes) m.bytes(5, attribute(a));
  nodes_ += Message().bytes(1, m.text()).text();
}

void OnnxFile::note(const std::string& key, const std::string& value) {
  notes_ += Message().bytes(14, Message().bytes(1, key).bytes(2, value).text()).text();
}

void OnnxFile::write(const Path& path, const std::string& graph_name, const std::string& producer) const {
  constexpr uint64_t kMost = (1ull << 31) - 1;
  const std::string graph = nodes_ + Message().bytes(2, graph_name).text() + weights_ + inputs_ + outputs_;
  if (graph.size() + notes_.size() + producer.size() + 100 > kMost)
    fail(Fault::input, path.string(), ": an ONNX file of ", graph.size(),
         " bytes would pass the 2 GiB that it may have");
  Message model;
  model.varint(1, kIrVersion).bytes(2, "metvox").bytes(3, producer).bytes(7, graph);
  model.bytes(8, Message().bytes(1, "").varint(2, kOpset).text());
  write_text(path, model.text() + notes_);
}

}  // namespace metvox
