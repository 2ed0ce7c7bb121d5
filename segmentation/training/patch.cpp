// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/patch.h"

#include <algorithm>

#include "kernels/augment.h"

namespace metvox {
namespace {

Shape shape_of(const Int3& extent) { return {extent[0], extent[1], extent[2]}; }
Shape shape_of(int64_t channels, const Int3& extent) { return {channels, extent[0], extent[1], extent[2]}; }

int64_t bytes_of(int64_t channels, const Int3& extent) {
  return volume(extent) * (channels * static_cast<int64_t>(sizeof(float)) + 1);
}

// A box of an image, then of its labels, from memory that holds both.
CasePart views_in(const Tensor& memory, int64_t channels, const Int3& first, const Int3& extent) {
  auto* data = static_cast<std::byte*>(memory.view().data);
  const View image{data, shape_of(channels, extent), DType::f32, memory.device()};
  return {image, {data + image.bytes(), shape_of(extent), DType::i8, memory.device()}, first};
}

template <class T>
T* copy_rows(const T* from, const Int3& size, const CasePart& part, T* to) {
  const Shape& extent = part.labels.shape;
  for (int64_t z = part.first[0]; z < part.first[0] + extent[0]; ++z)
    for (int64_t y = part.first[1]; y < part.first[1] + extent[1]; ++y)
      to = std::copy_n(from + (z * size[1] + y) * size[2] + part.first[2], extent[2], to);
  return to;
}

}  // namespace

Patch::Patch(int64_t channel_count, const Int3& patch_extent, int64_t previous_label_count, Device device,
             const Int3& window)
    : channels(channel_count),
      previous_labels(previous_label_count),
      extent(patch_extent),
      stream(device),
      data(Tensor::zeros(shape_of(channel_count, patch_extent), DType::f32, device, "patch")),
      seg(Tensor::zeros(shape_of(patch_extent), DType::i8, device, "patch's labels")),
      previous(static_cast<size_t>(previous_label_count > 0 ? volume(patch_extent) : 0)),
      scratch(Tensor::empty({augment_scratch(volume(patch_extent))}, DType::f32, device, "patch's scratch")) {
  if (device.is_cpu()) return;
  check(previous_labels == 0, "Patch: a cascade's is made on the CPU");
  cut_ = Tensor::empty({bytes_of(channels, window)}, DType::u8);
  uploaded_ = Tensor::empty(cut_.shape(), DType::u8, device, "part of a case");
  pinned_.emplace(cut_, device);
}

CasePart Patch::box(const Int3& first, const Int3& box_extent) {
  const int64_t most = bytes_of(channels, source.extent);
  check(bytes_of(channels, box_extent) <= most, "Patch: a box of ", shape_of(box_extent), " in a window of ",
        shape_of(source.extent));
  if (!box_ || box_.size() < most) {
    stream.synchronize();  // the one before this may still be in use
    box_ = Tensor::empty({most}, DType::u8, stream.device(), "box of a window");
  }
  return views_in(box_, channels, first, box_extent);
}

size_t Patch::bytes(int64_t channels, const Int3& extent, int64_t previous_labels, Device device, const Int3& window,
                    bool boxed) {
  const size_t there = static_cast<size_t>(bytes_of(channels, extent)) +
                       static_cast<size_t>(augment_scratch(volume(extent))) * sizeof(float) +
                       (boxed ? static_cast<size_t>(bytes_of(channels, window)) : 0);
  if (previous_labels > 0) return there + static_cast<size_t>(volume(extent));
  return there + (device.is_cpu() ? 0 : 2 * static_cast<size_t>(bytes_of(channels, window)));
}

CasePart Patch::part(const Int3& low, const Int3& high) {
  const Int3& size = source.case_extent;
  if (stream.device().is_cpu())
    return {{const_cast<float*>(source.data), shape_of(channels, size), DType::f32},
            {const_cast<int8_t*>(source.seg), shape_of(size), DType::i8},
            {}};
  Int3 first, box;  // of a patch that misses the case, one voxel at its edge
  for (size_t a = 0; a < 3; ++a) {
    first[a] = std::clamp<int64_t>(low[a], 0, size[a] - 1);
    box[a] = std::clamp<int64_t>(high[a], first[a] + 1, size[a]) - first[a];
  }
  check(bytes_of(channels, box) <= cut_.size(), "Patch: a part of ", shape_of(box), " is larger than the window");
  stream.synchronize();  // the part before this one may still be on its way
  const CasePart here = views_in(cut_, channels, first, box), there = views_in(uploaded_, channels, first, box);
  float* to = here.image.as<float>();
  for (int64_t c = 0; c < channels; ++c) to = copy_rows(source.data + c * volume(size), size, here, to);
  copy_rows(source.seg, size, here, here.labels.as<int8_t>());
  begin_upload(stream, here.image, there.image);
  begin_upload(stream, here.labels, there.labels);
  return there;
}

void store(Patch& patch, const Tensor& images, const Tensor& labels, int64_t element) {
  const Tensor x = images.slice(element, 1), y = labels.slice(element, 1);
  if (patch.previous_labels == 0)
    return store_sample(patch.stream, patch.data.view(), patch.seg.view(), x.view(), y.view());
  float* to = x.data<float>();
  const int8_t* seg = patch.seg.data<int8_t>();
  for (int64_t i = 0; i < patch.voxels(); ++i) {
    for (int64_t c = 0; c < patch.channels; ++c) *to++ = patch.channel(c)[i];
    for (int64_t label = 1; label <= patch.previous_labels; ++label)
      *to++ = patch.previous[static_cast<size_t>(i)] == label ? 1.0f : 0.0f;
    y.data<uint8_t>()[i] = static_cast<uint8_t>(std::max<int8_t>(seg[i], 0));
  }
}

}  // namespace metvox
