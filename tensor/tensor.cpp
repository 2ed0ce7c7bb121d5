// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tensor/align.h"

namespace metvox {

// Asks for huge pages where a block is large, so that its first use is one fault instead of 512, which else take a
// fifth of the time of preprocessing a case. Only advice: a kernel without huge pages changes nothing.
static void advise_huge_pages(void* memory, size_t bytes) {
  constexpr size_t kPage = 4096, kLarge = size_t{4} << 20;
  if (bytes < kLarge) return;
  const size_t before = (kPage - reinterpret_cast<uintptr_t>(memory) % kPage) % kPage;
  madvise(static_cast<std::byte*>(memory) + before, bytes - before, MADV_HUGEPAGE);
}

void transfer(Stream& stream, const View& from, const View& to) {
  check(from.shape == to.shape && from.dtype == to.dtype, "transfer: ", from.shape, ' ', name_of(from.dtype), " to ",
        to.shape, ' ', name_of(to.dtype));
  if (from.device.is_cpu() && to.device.is_cpu()) {
    std::memcpy(to.data, from.data, to.bytes());
    return;
  }
  const Device device = from.device.is_cpu() ? to.device : from.device;
  check(stream.device() == device, "transfer: between ", name_of(from.device), " and ", name_of(to.device),
        " on a stream of ", name_of(stream.device()));
  driver(device).copy(to.data, from.data, to.bytes(), stream.handle());
  if (from.device.is_cpu() || to.device.is_cpu()) stream.synchronize();
}

void fill_bytes(Stream& stream, const View& to, int byte) {
  if (to.device.is_cpu()) std::memset(to.data, byte, to.bytes());
  else driver(to.device).fill(to.data, byte, to.bytes(), stream.handle());
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device, std::string_view name) {
  // Extents may come from hostile files: their product must not wrap round to a small block.
  int64_t bytes_needed = static_cast<int64_t>(size_of(dtype));
  for (int i = 0; i < shape.rank(); ++i)
    if (__builtin_mul_overflow(bytes_needed, shape[i], &bytes_needed))
      fail(Fault::memory, "no memory for a tensor of ", shape, " ", name_of(dtype),
           ": more bytes than a machine can count");
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.device_ = device;
  if (!device.is_cpu()) {
    const DeviceDriver& d = driver(device);
    auto* memory = static_cast<std::byte*>(d.allocate(device.index, t.bytes(), name));
    const auto release = [&d, index = device.index](std::byte* p) { d.release(index, p); };
    t.storage_ = std::shared_ptr<std::byte[]>(memory, release);
    return t;
  }
  const size_t bytes = aligned(t.bytes());
  void* memory = std::aligned_alloc(kAlign, bytes == 0 ? kAlign : bytes);
  if (!memory)
    fail(Fault::memory, "no memory for a tensor of ", shape, " ", name_of(dtype), ": ", t.bytes(), " bytes needed");
  advise_huge_pages(memory, bytes);
  t.storage_ = std::shared_ptr<std::byte[]>(static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); });
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device, std::string_view name) {
  Tensor t = empty(shape, dtype, device, name);
  Stream stream(device);
  fill_bytes(stream, t.view(), 0);
  stream.synchronize();
  return t;
}

// What was given to any stream may still be on its way into a tensor that is to be copied.
static void finish_work(Device device) {
  if (!device.is_cpu()) driver(device).synchronize(device.index, nullptr);
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  finish_work(device_);
  Tensor t = empty(shape_, dtype_, device_);
  Stream stream(device_);
  transfer(stream, view(), t.view());
  stream.synchronize();
  return t;
}

Tensor Tensor::to(Device device) const {
  if (!storage_ || device == device_) return *this;
  finish_work(device_);
  Tensor t = empty(shape_, dtype_, device);
  Stream stream(device.is_cpu() ? device_ : device);
  transfer(stream, view(), t.view());
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
