// SPDX-License-Identifier: Apache-2.0
// What the oneDNN engines share: descriptions of our layouts, primitives bound to their arguments, reasons to decline.
// Scratchpads are the caller's (scratchpad_mode::user), so that their size is known before anything runs.
#pragma once
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>

#include "kernels/engine.h"
#include "tensor/align.h"
#include "tensor/shape.h"

namespace metvox::onednn {

// The CPU engine; held to METVOX_ISA from its first use.
const dnnl::engine& cpu_engine();

dnnl::memory::data_type type_of(DType t);
dnnl::memory::dims dims_of(const Int3& e);
// (n, c, ...) channels-last; weights (a, b, ...) as written, and in whatever order the primitive likes.
dnnl::memory::desc activation(int64_t n, int64_t c, const Int3& extent, DType t);
dnnl::memory::desc weights(int64_t a, int64_t b, const Int3& kernel, DType t);
dnnl::memory::desc weights_any(int64_t a, int64_t b, const Int3& kernel, DType t);

// User scratchpad; add_to_output keeps what the output holds and adds the result.
dnnl::primitive_attr attributes(bool add_to_output = false);

// Why no oneDNN engine computes in this type here, or nothing.
std::optional<std::string> declines_type(DType t);
// Why not these primitives, or nothing: make() describes them and may throw dnnl::error; implementations named ref are
// refused.
std::optional<std::string> declines_primitives(const std::vector<std::string>& implementations);
template <class Describe>
std::optional<std::string> refusal(Describe&& describe) {
  try {
    return declines_primitives(describe());
  } catch (const dnnl::error& e) {
    return sentence("oneDNN has no such primitive: ", e.what());
  }
}

// The implementation that would reorder one into the other.
std::string reorder_name(const dnnl::memory::desc& from, const dnnl::memory::desc& to);

// Pieces of one block of memory, each 64-byte aligned.
class Layout {
 public:
  size_t add(size_t bytes) {
    const size_t at = bytes_;
    bytes_ += aligned(bytes);
    return at;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

inline void* at(const void* block, size_t offset) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(block)) + offset;  // oneDNN takes its inputs as void* too
}

// A primitive and its memory objects, made once; a call only sets addresses.
class Call {
 public:
  struct Argument {
    int id;
    dnnl::memory::desc desc;
  };
  Call(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad, const std::vector<Argument>& arguments);
  // One address an argument, in the order of the constructor.
  void operator()(std::initializer_list<void*> addresses, void* scratch) const;
  size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
  size_t scratch_bytes_ = 0;
};

// Weights of one or several primitives, each reordered from a part of the master weights into its own piece of packed
// memory.
class PackedWeights {
 public:
  void add(const dnnl::memory::desc& master, const dnnl::memory::desc& packed);
  size_t bytes() const { return layout_.bytes(); }
  void pack(void* master, void* packed) const;
  void* at(const void* packed, size_t i) const { return onednn::at(packed, pieces_[i].offset); }

 private:
  struct Piece {
    Call reorder;
    size_t offset, scratch_offset;
  };
  std::vector<Piece> pieces_;
  Layout layout_;
};

// A weight gradient from a primitive's order into a part of the master gradient, written or added.
class WriteGradient {
 public:
  WriteGradient(const dnnl::memory::desc& result, const dnnl::memory::desc& master);
  void operator()(void* result, void* master, Grad grad, void* scratch) const;
  size_t scratch_bytes() const { return std::max(overwrite_.scratch_bytes(), add_.scratch_bytes()); }

 private:
  Call overwrite_, add_;
};

}  // namespace metvox::onednn
