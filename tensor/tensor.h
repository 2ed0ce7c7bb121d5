// SPDX-License-Identifier: Apache-2.0
// Tensor owns (shares) memory on one device; View looks at memory that someone else keeps alive. Both are dense: no
// strides.
#pragma once
#include <memory>
#include <string_view>

#include "tensor/device.h"
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
  Device device{};

  int64_t size() const { return shape.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype); }
  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* as() const {
    check(dtype == dtype_of<T>(), "View: holds ", name_of(dtype), ", asked for as ", name_of(dtype_of<T>()));
    return static_cast<T*>(data);
  }
};

// Copies bytes between views of equal shape and type, on whichever devices they lie. When one of them is the host's,
// the call returns with the copy done.
void transfer(Stream&, const View& from, const View& to);
// Every byte of the view.
void fill_bytes(Stream&, const View& to, int byte);

// Cheap to copy; copies share the memory. Memory is 64-byte aligned and not initialised by empty().
// Throws Error (Fault::memory) with the bytes asked for when there are none. `name` is for a device's reports.
class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(const Shape& shape, DType dtype, Device device = {}, std::string_view name = "tensor");
  static Tensor zeros(const Shape& shape, DType dtype, Device device = {}, std::string_view name = "tensor");

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype_); }
  Device device() const { return device_; }
  explicit operator bool() const { return storage_ != nullptr; }
  Tensor clone() const;
  // A copy on that device; shares the memory where it lies there already.
  Tensor to(Device device) const;
  // The same memory under another shape of equal size.
  Tensor reshape(const Shape& shape) const;
  // Entries [first, first + count) of the slowest axis; shares the memory.
  Tensor slice(int64_t first, int64_t count) const;

  View view() const { return {storage_ ? storage_.get() + offset_bytes_ : nullptr, shape_, dtype_, device_}; }
  template <class T>
  T* data() const {
    return view().as<T>();
  }

 private:
  std::shared_ptr<std::byte[]> storage_;
  size_t offset_bytes_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace metvox
