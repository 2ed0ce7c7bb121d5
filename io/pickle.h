// SPDX-License-Identifier: Apache-2.0
// Python's pickles as data, and nothing but data: None, booleans, numbers, strings, bytes, lists, tuples, dicts,
// OrderedDicts, NumPy's scalars and arrays, and PyTorch's tensors (where they lie, not what they hold). Whatever else a
// pickle asks for is refused by its name; nothing is ever imported, called or executed.
// Source: CPython's Lib/pickletools.py; PyTorch's torch/_utils.py for what tensors are made of.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/json.h"

namespace metvox {

// A tensor as a pickle speaks of it: elements of a storage that lies elsewhere.
struct PickledTensor {
  std::string storage, type;  // the storage's key, and its class without "Storage": Float, Half, Long, ...
  int64_t storage_elements = 0, first = 0;
  std::vector<int64_t> shape, strides;
};

class PickleValue;

class Pickle {
 public:
  // Reads all of it. `named` is for errors. Throws Error (Fault::input) with the byte and, for what is refused, the
  // name.
  Pickle(std::span<const std::byte> bytes, const Path& named);
  PickleValue root() const;

 private:
  friend class PickleValue;
  friend class Unpickler;
  enum class Kind {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    list,
    tuple,
    dict,
    array,
    tensor,
    global,
    storage,
    dtype
  };
  // Nodes lie in one list and name each other by index: a pickle may share them, and may put a list into itself.
  struct Node {
    Kind kind = Kind::none;
    int64_t integer = 0;  // of a boolean too
    double real = 0;
    std::string text;                             // text, bytes, a global's name
    std::vector<int> items;                       // of a dict: key, value, key, value, ...; of an array: its numbers
    std::shared_ptr<const PickledTensor> tensor;  // of a storage: with neither shape nor strides
  };
  std::vector<Node> nodes_;
  int root_ = 0;
  Path named_;
};

// A value of a pickle, which outlives it. `where` says in errors what the value is.
class PickleValue {
 public:
  bool is_dict() const { return kind() == Pickle::Kind::dict; }
  bool is_tensor() const { return kind() == Pickle::Kind::tensor; }
  bool is_none() const { return kind() == Pickle::Kind::none; }
  bool is_text() const { return kind() == Pickle::Kind::text; }
  // Throw Error (Fault::input) when the value is of another kind.
  const std::string& text() const;
  const PickledTensor& tensor() const;
  // The entries of a dict whose keys are text, in its order; others are left out.
  std::vector<std::pair<std::string, PickleValue>> entries() const;
  // The entry of a dict; none when it is not there.
  std::optional<PickleValue> find(const std::string& key) const;
  // What JSON can say: no tensors or bytes, nothing that holds itself, at most a million values.
  Json json() const;

 private:
  friend class Pickle;
  PickleValue(const Pickle& pickle, int id, std::string where) : pickle_(&pickle), id_(id), where_(std::move(where)) {}
  const Pickle::Node& node() const { return pickle_->nodes_[static_cast<size_t>(id_)]; }
  Pickle::Kind kind() const { return node().kind; }
  Json json(int depth, int64_t& left) const;
  [[noreturn]] void fail_kind(const char* expected) const;

  const Pickle* pickle_;
  int id_;
  std::string where_;
};

}  // namespace metvox
