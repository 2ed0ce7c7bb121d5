// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <cstdlib>
#include <cstring>

#include "tensor/align.h"

namespace metvox {

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  // Extents may come from hostile files: their product must not wrap round to a small block.
  int64_t bytes_needed = static_cast<int64_t>(size_of(dtype));
  for (int i = 0; i < shape.rank(); ++i)
    if (__builtin_mul_overflow(bytes_needed, shape[i], &bytes_needed))
      fail(Fault::memory, "no memory for a tensor of ", shape, " ", name_of(dtype),
           ": more bytes than a machine can count");
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  const size_t bytes = aligned(t.bytes());
  void* memory = std::aligned_alloc(kAlign, bytes == 0 ? kAlign : bytes);
  if (!memory)
    fail(Fault::memory, "no memory for a tensor of ", shape, " ", name_of(dtype), ": ", t.bytes(), " bytes needed");
  t.storage_ = std::shared_ptr<std::byte[]>(static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); });
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor t = empty(shape, dtype);
  std::memset(t.view().data, 0, t.bytes());
  return t;
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  Tensor t = empty(shape_, dtype_);
  std::memcpy(t.view().data, view().data, bytes());
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.size() == size(), "Tensor::reshape: ", shape_, " has ", size(), " elements, ", shape, " has ",
        shape.size());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(int64_t first, int64_t count) const {
  check(shape_.rank() > 0 && first >= 0 && count >= 0 && first + count <= shape_[0], "Tensor::slice: [", first, ", ",
        first + count, ") is not inside ", shape_);
  Tensor t = *this;
  t.shape_[0] = count;
  const int64_t row = shape_[0] ? size() / shape_[0] : 0;
  t.offset_bytes_ += static_cast<size_t>(first * row) * size_of(dtype_);
  return t;
}

}  // namespace metvox
