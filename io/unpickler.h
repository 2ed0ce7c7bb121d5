// SPDX-License-Identifier: Apache-2.0
// The machine that runs a pickle's opcodes over a stack of values (io/pickle.h). Every opcode makes at most one value,
// and there is a limit to them, so that memory stays within a small multiple of the pickle. Nothing recurses.
#pragma once
#include <unordered_map>

#include "io/pickle.h"

namespace metvox {

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const Path& named, std::vector<Pickle::Node>& nodes)
      : bytes_(bytes), named_(named), nodes_(nodes) {}
  int run();  // the index of the value that the pickle is

 private:
  using Kind = Pickle::Kind;
  using Node = Pickle::Node;

  // Reading.
  std::span<const std::byte> take(uint64_t bytes);
  template <class T>
  T number();
  std::string text(uint64_t bytes);
  std::string line();
  int64_t long_integer(uint64_t bytes);
  double big_endian_real();

  // The stack.
  int make(Node node);
  int make(Kind kind, int64_t integer) { return make(Node{kind, integer, 0, {}, {}, {}}); }
  int pop();
  int top() const;
  std::vector<int> pop_to_mark();
  std::vector<int> pop_many(size_t count);
  Node& node(int id) { return nodes_[static_cast<size_t>(id)]; }
  const Node& expect(int id, Kind kind, const char* what) const;
  const Node& argument(const Node& tuple, size_t index, Kind kind, const char* what) const;

  // Opcodes. Each group says whether it knew the opcode.
  bool constant(uint8_t opcode);
  bool container(uint8_t opcode);
  bool memory(uint8_t opcode);
  bool calls(uint8_t opcode);
  void memoize(uint32_t index) { memo_[index] = top(); }
  void recall(uint32_t index);
  void extend(int to, Kind kind, const std::vector<int>& items);

  // What a pickle may ask for by name.
  int global(const std::string& module, const std::string& name);
  int persistent(int id);
  int reduce(const std::string& callee, int arguments);
  void build(int target, int state);
  int encoded(const Node& arguments);
  int scalar(const std::string& dtype, const std::string& raw);
  int rebuilt_tensor(const Node& arguments);
  std::vector<int64_t> integers(int tuple) const;

  [[noreturn]] void refuse(const std::string& what) const;
  template <class... Parts>
  [[noreturn]] void fail_at(const Parts&... parts) const;

  std::span<const std::byte> bytes_;
  Path named_;
  std::vector<Pickle::Node>& nodes_;
  size_t at_ = 0, opcode_at_ = 0, made_bytes_ = 0;
  std::vector<int> stack_;  // kMark between
  std::unordered_map<uint32_t, int> memo_;
};

}  // namespace metvox
