// SPDX-License-Identifier: Apache-2.0
// Tensor owns (shares) memory; View looks at memory that someone else keeps alive. Both are dense: no strides.
#pragma once
#include <memory>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace metvox {

// All that is known of a value before memory exists.
struct Spec {
  Shape shape;
  DType dtype = DType::f32;
  size_t bytes() const { return static_cast<size_t>(shape.size()) * size_of(dtype); }
  bool operator==(const Spec&) const = default;
};

struct View {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  int64_t size() const { return shape.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype); }
  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* as() const {
    check(dtype == dtype_of<T>(), "View: holds ", name_of(dtype), ", asked for as ", name_of(dtype_of<T>()));
    return static_cast<T*>(data);
  }
};

// Cheap to copy; copies share the memory. Memory is 64-byte aligned and not initialised by empty().
// Throws Error (Fault::memory) with the bytes asked for when there are none.
class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(const Shape& shape, DType dtype);
  static Tensor zeros(const Shape& shape, DType dtype);

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype_); }
  explicit operator bool() const { return storage_ != nullptr; }
  Tensor clone() const;
  // The same memory under another shape of equal size.
  Tensor reshape(const Shape& shape) const;
  // Entries [first, first + count) of the slowest axis; shares the memory.
  Tensor slice(int64_t first, int64_t count) const;

  View view() const { return {storage_ ? storage_.get() + offset_bytes_ : nullptr, shape_, dtype_}; }
  template <class T>
  T* data() const {
    return view().as<T>();
  }

 private:
  std::shared_ptr<std::byte[]> storage_;
  size_t offset_bytes_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
};

}  // namespace metvox
