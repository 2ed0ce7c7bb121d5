// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess.h"

#include <algorithm>
#include <cstring>

#include "segmentation/data/normalize.h"
#include "segmentation/data/permute.h"
#include "segmentation/data/resample.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

Int3 size_of(const CropBox& b) { return {b.last[0] - b.first[0], b.last[1] - b.first[1], b.last[2] - b.first[2]}; }

Tensor permute_channels(const Tensor& data, const std::array<int, 3>& order) {
  if (order == std::array<int, 3>{0, 1, 2}) return data;
  const Shape& n = data.shape();
  const Int3 to = permute(Int3{n[1], n[2], n[3]}, order);
  Tensor out = Tensor::empty({n[0], to[0], to[1], to[2]}, data.dtype());
  for (int64_t c = 0; c < n[0]; ++c) {
    const Tensor channel = permute(data.slice(c, 1).reshape({n[1], n[2], n[3]}), order);
    std::memcpy(out.slice(c, 1).data<float>(), channel.data<float>(), channel.bytes());
  }
  return out;
}

// f(offset in the volume, offset in the crop) for each row of the crop.
template <class F>
void for_each_row(const Shape& n, const CropBox& box, F&& f) {
  const Int3 size = size_of(box);
  parallel_for(size[0], 4, [&](int64_t first, int64_t last) {
    for (int64_t z = first; z < last; ++z)
      for (int64_t y = 0; y < size[1]; ++y)
        f(((z + box.first[0]) * n[1] + y + box.first[1]) * n[2] + box.first[2], (z * size[1] + y) * size[2]);
  });
}

Tensor crop(const Tensor& data, const Shape& grid, const CropBox& box) {
  const Int3 size = size_of(box);
  Tensor out = Tensor::empty({data.shape()[0], size[0], size[1], size[2]}, DType::f32);
  for (int64_t c = 0; c < data.shape()[0]; ++c) {
    const float* in = data.data<float>() + c * grid.size();
    float* to = out.data<float>() + c * volume(size);
    for_each_row(grid, box, [&](int64_t i, int64_t o) {
      std::memcpy(to + o, in + i, sizeof(float) * static_cast<size_t>(size[2]));
    });
  }
  return out;
}

// Labels in the box; background outside the mask is -1.
Tensor crop_seg(const Tensor& labels, const Tensor& mask, const CropBox& box) {
  const Int3 size = size_of(box);
  Tensor out = Tensor::empty({size[0], size[1], size[2]}, DType::i8);
  const uint8_t* m = mask.data<uint8_t>();
  const uint8_t* l = labels ? labels.data<uint8_t>() : nullptr;
  int8_t* to = out.data<int8_t>();
  for_each_row(mask.shape(), box, [&](int64_t i, int64_t o) {
    for (int64_t x = 0; x < size[2]; ++x) {
      const uint8_t label = l ? l[i + x] : uint8_t{0};
      to[o + x] = static_cast<int8_t>(label == 0 && !m[i + x] ? -1 : label);
    }
  });
  return out;
}

// Voxels of each target, up to 10 000 of them but at least one in a hundred, drawn without replacement.
std::vector<Tensor> class_locations(const Tensor& seg, const std::vector<LabelTarget>& targets, uint64_t seed) {
  constexpr size_t kMost = 10000, kOneIn = 100;
  const Shape& n = seg.shape();
  check(seg.size() <= int64_t{UINT32_MAX}, "class_locations: ", n, " has more voxels than 32 bits count");
  std::array<std::vector<size_t>, 128> targets_of;
  for (size_t t = 0; t < targets.size(); ++t)
    for (int label : targets[t].labels) targets_of[static_cast<size_t>(label)].push_back(t);
  std::vector<std::vector<uint32_t>> all(targets.size());
  const int8_t* s = seg.data<int8_t>();
  for (int64_t i = 0; i < seg.size(); ++i)
    if (s[i] > 0)
      for (size_t t : targets_of[static_cast<size_t>(s[i])]) all[t].push_back(static_cast<uint32_t>(i));
  std::vector<Tensor> out;
  for (size_t t = 0; t < targets.size(); ++t) {
    std::vector<uint32_t>& voxels = all[t];
    const size_t count = voxels.size(), wanted = std::max(std::min(kMost, count), (count + kOneIn - 1) / kOneIn);
    Random random(seed, t);
    for (size_t i = 0; wanted < count && i < wanted; ++i)
      std::swap(voxels[i], voxels[i + static_cast<size_t>(random.below(static_cast<int64_t>(count - i)))]);
    out.push_back(Tensor::empty({static_cast<int64_t>(wanted), 3}, DType::i32));
    int32_t* to = out.back().data<int32_t>();
    for (size_t i = 0; i < wanted; ++i) {
      const int64_t v = voxels[i];
      *to++ = static_cast<int32_t>(v / (n[1] * n[2]));
      *to++ = static_cast<int32_t>(v / n[2] % n[1]);
      *to++ = static_cast<int32_t>(v % n[2]);
    }
  }
  return out;
}

}  // namespace

Double3 target_spacing_mm(const CaseProperties& properties, const Configuration& configuration) {
  const auto& mm = configuration.spacing_mm;
  return mm.size() == 2 ? Double3{properties.spacing_mm[0], mm[0], mm[1]} : Double3{mm[0], mm[1], mm[2]};
}

PreprocessedCase preprocess_case(const std::string& id, const CaseImages& images, const Tensor& labels,
                                 const Plans& plans, const Configuration& configuration, const Labels& names,
                                 uint64_t seed) {
  const int64_t channels = images.data.shape()[0];
  if (static_cast<size_t>(channels) != configuration.normalization_schemes.size())
    fail(Fault::input, "case ", id, " has ", channels, " sequences, but the plans are for ",
         configuration.normalization_schemes.size());
  PreprocessedCase out;
  CaseProperties& p = out.properties;
  p.id = id;
  p.geometry = images.geometry;
  const auto& mm = images.geometry.spacing_mm;
  p.spacing_mm = permute(Double3{mm[2], mm[1], mm[0]}, plans.transpose_forward);

  const Tensor data = permute_channels(images.data, plans.transpose_forward);
  const Tensor mask = nonzero_mask(data);
  const CropBox box = bounding_box(mask);
  p.shape_before_cropping = {mask.shape()[0], mask.shape()[1], mask.shape()[2]};
  p.bbox_first = box.first;
  p.bbox_last = box.last;
  p.shape_after_cropping = size_of(box);
  if (volume(p.shape_after_cropping) == 0) fail(Fault::input, "case ", id, ": every voxel of every sequence is 0");

  out.data = crop(data, mask.shape(), box);
  const Tensor seg = crop_seg(labels ? permute(labels, plans.transpose_forward) : Tensor{}, mask, box);
  const Int3& size = p.shape_after_cropping;
  for (int64_t c = 0; c < channels; ++c) {
    const auto k = static_cast<size_t>(c);
    Tensor channel = out.data.slice(c, 1).reshape({size[0], size[1], size[2]});
    normalize(channel, configuration.normalization_schemes[k], configuration.use_mask_for_norm[k] ? seg : Tensor{},
              k < plans.intensities.size() ? plans.intensities[k] : IntensityProperties{});
  }
  const Double3 target = target_spacing_mm(p, configuration);
  const Int3 shape = resampled_shape(size, p.spacing_mm, target);
  for (int64_t e : shape)
    if (e < 1)
      fail(Fault::input, "case ", id, ": nothing is left of ", size[0], "x", size[1], "x", size[2],
           " voxels at the plan's spacing");
  out.data = resample_data(out.data, shape, p.spacing_mm, target, 3);
  if (labels) {
    out.seg = resample_labels(seg, shape, p.spacing_mm, target);
    out.locations = class_locations(out.seg, names.foreground(), seed);
  }
  return out;
}

}  // namespace metvox
