// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include "segmentation/data/normalize.h"
#include "segmentation/data/permute.h"
#include "segmentation/data/resample.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr size_t kMostLocations = 10000, kOneLocationIn = 100;

Int3 size_of(const CropBox& b) { return {b.last[0] - b.first[0], b.last[1] - b.first[1], b.last[2] - b.first[2]}; }

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

// Moves the box's rows to the front of the memory that the volume and `out` have in common, or may have: one row after
// the other, so that none is overwritten before it is moved.
void crop_in_place(const Tensor& volume, const CropBox& box, const Tensor& out) {
  const Shape& n = volume.shape();
  const Int3 size = size_of(box);
  float* to = out.data<float>();
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y, to += size[2])
      std::memmove(to, volume.data<float>() + (z * n[1] + y) * n[2] + box.first[2],
                   static_cast<size_t>(size[2]) * sizeof(float));
}

// A row of labels, of which background outside the mask is -1.
void mark_outside(const uint8_t* labels, const uint8_t* mask, int64_t n, int8_t* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<int8_t>(labels[i] - ((labels[i] | mask[i]) == 0));
}

// Labels in the box, all background where there are none.
Tensor crop_seg(const Tensor& labels, const Tensor& mask, const CropBox& box) {
  const Int3 size = size_of(box);
  Tensor out = Tensor::empty({size[0], size[1], size[2]}, DType::i8);
  const std::vector<uint8_t> background(labels ? 0 : static_cast<size_t>(size[2]));
  for_each_row(mask.shape(), box, [&](int64_t i, int64_t o) {
    const uint8_t* row = labels ? labels.data<uint8_t>() + i : background.data();
    mark_outside(row, mask.data<uint8_t>() + i, size[2], out.data<int8_t>() + o);
  });
  return out;
}

// Which of `count` things are drawn without replacement, in the order of the draws: the first `wanted` of a shuffle, of
// which only what has moved is kept.
std::vector<uint32_t> draw_some(size_t count, size_t wanted, Random& random) {
  std::vector<uint32_t> drawn(wanted);
  std::iota(drawn.begin(), drawn.end(), 0u);
  if (wanted == count) return drawn;
  std::unordered_map<uint32_t, uint32_t> moved;
  const auto at = [&](uint32_t i) {
    const auto found = moved.find(i);
    return found == moved.end() ? i : found->second;
  };
  for (uint32_t i = 0; i < wanted; ++i) {
    const uint32_t j = i + static_cast<uint32_t>(random.below(static_cast<int64_t>(count - i)));
    drawn[i] = at(j);
    moved[j] = at(i);
    moved.erase(i);
  }
  return drawn;
}

// The voxels of one target on a walk through the volume, of which those of some ranks are wanted.
struct DrawnVoxels {
  std::vector<uint32_t> drawn, sorted;  // ranks, then `sorted` numbers of draws in the order of their ranks
  size_t met = 0, next = 0;
  Tensor locations;  // i32 (n, 3)

  DrawnVoxels(size_t count, Random random) {
    const size_t wanted = std::max(std::min(kMostLocations, count), (count + kOneLocationIn - 1) / kOneLocationIn);
    drawn = draw_some(count, wanted, random);
    sorted.resize(wanted);
    std::iota(sorted.begin(), sorted.end(), 0u);
    std::sort(sorted.begin(), sorted.end(), [&](uint32_t a, uint32_t b) { return drawn[a] < drawn[b]; });
    locations = Tensor::empty({static_cast<int64_t>(wanted), 3}, DType::i32);
  }
  void meet(int64_t z, int64_t y, int64_t x) {
    if (next == sorted.size() || drawn[sorted[next]] != met++) return;
    int32_t* to = locations.data<int32_t>() + 3 * size_t{sorted[next++]};
    to[0] = static_cast<int32_t>(z);
    to[1] = static_cast<int32_t>(y);
    to[2] = static_cast<int32_t>(x);
  }
};

// f(label, z, y, x) for each voxel of the foreground. Most rows have none, which is seen many voxels at a time.
template <class F>
void for_each_foreground(const Tensor& seg, F&& f) {
  const Shape& n = seg.shape();
  const int8_t* row = seg.data<int8_t>();
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y, row += n[2]) {
      int8_t most = 0;
      for (int64_t x = 0; x < n[2]; ++x) most = std::max(most, row[x]);
      if (most == 0) continue;
      for (int64_t x = 0; x < n[2]; ++x)
        if (row[x] > 0) f(static_cast<size_t>(row[x]), z, y, x);
    }
}

// Voxels of each target, up to 10 000 of them but at least one in a hundred, drawn without replacement.
std::vector<Tensor> class_locations(const Tensor& seg, const std::vector<LabelTarget>& targets, uint64_t seed) {
  check(seg.size() <= int64_t{UINT32_MAX}, "class_locations: ", seg.shape(), " has more voxels than 32 bits count");
  std::array<size_t, 128> voxels{};
  for_each_foreground(seg, [&](size_t label, int64_t, int64_t, int64_t) { ++voxels[label]; });
  std::vector<DrawnVoxels> of_target;
  std::array<std::vector<size_t>, 128> targets_of;
  for (size_t t = 0; t < targets.size(); ++t) {
    size_t count = 0;
    for (int label : targets[t].labels) {
      count += voxels[static_cast<size_t>(label)];
      targets_of[static_cast<size_t>(label)].push_back(t);
    }
    of_target.emplace_back(count, Random(seed, t));
  }
  for_each_foreground(seg, [&](size_t label, int64_t z, int64_t y, int64_t x) {
    for (size_t t : targets_of[label]) of_target[t].meet(z, y, x);
  });
  std::vector<Tensor> out;
  for (const DrawnVoxels& d : of_target) out.push_back(d.locations);
  return out;
}

bool uses_mask(const Configuration& configuration) {
  const auto& all = configuration.use_mask_for_norm;
  return std::find(all.begin(), all.end(), true) != all.end();
}

bool moves_axes(const Plans& plans) { return plans.transpose_forward != std::array<int, 3>{0, 1, 2}; }

// Of the raw case, after transpose_forward.
Double3 spacing_of(const Geometry& g, const Plans& plans) {
  return permute(Double3{g.spacing_mm[2], g.spacing_mm[1], g.spacing_mm[0]}, plans.transpose_forward);
}
Int3 transposed_shape(const Geometry& g, const Plans& plans) {
  return permute(Int3{g.shape[2], g.shape[1], g.shape[0]}, plans.transpose_forward);
}

}  // namespace

Double3 target_spacing_mm(const CaseProperties& properties, const Configuration& configuration) {
  const auto& mm = configuration.spacing_mm;
  return mm.size() == 2 ? Double3{properties.spacing_mm[0], mm[0], mm[1]} : Double3{mm[0], mm[1], mm[2]};
}

PreprocessedCase preprocess_case(const std::string& id, const SequenceSource& sequences, const Tensor& labels,
                                 const Plans& plans, const Configuration& configuration, const Labels& names,
                                 uint64_t seed) {
  const int64_t channels = sequences.count;
  if (static_cast<size_t>(channels) != configuration.normalization_schemes.size())
    fail(Fault::input, "case ", id, " has ", channels, " sequences, but the plans are for ",
         configuration.normalization_schemes.size());
  PreprocessedCase out;
  CaseProperties& p = out.properties;
  p.id = id;
  p.geometry = sequences.geometry;
  p.spacing_mm = spacing_of(p.geometry, plans);

  Tensor mask = permute(nonzero_mask(sequences), plans.transpose_forward);
  const CropBox box = bounding_box(mask);
  p.shape_before_cropping = {mask.shape()[0], mask.shape()[1], mask.shape()[2]};
  p.bbox_first = box.first;
  p.bbox_last = box.last;
  const Int3 size = p.shape_after_cropping = size_of(box);
  if (volume(size) == 0) fail(Fault::input, "case ", id, ": every voxel of every sequence is 0");
  const Double3 target = target_spacing_mm(p, configuration);
  const Int3 shape = resampled_shape(size, p.spacing_mm, target);
  for (int64_t e : shape)
    if (e < 1)
      fail(Fault::input, "case ", id, ": nothing is left of ", size[0], "x", size[1], "x", size[2],
           " voxels at the plan's spacing");

  Tensor seg;
  if (labels || uses_mask(configuration))
    seg = crop_seg(labels ? permute(labels, plans.transpose_forward) : Tensor{}, mask, box);
  mask = Tensor();
  const Shape wanted{channels, shape[0], shape[1], shape[2]};
  const bool in_place = sequences.memory && shape == size && !moves_axes(plans);
  out.data = in_place ? sequences.memory.reshape({sequences.memory.size()}).slice(0, wanted.size()).reshape(wanted)
                      : Tensor::empty(wanted, DType::f32);
  const Int3 first = permute(box.first, plans.transpose_backward);
  Tensor cropped;  // a channel at a time; where nothing is resampled it is the result
  for (int64_t c = 0; c < channels; ++c) {
    const auto k = static_cast<size_t>(c);
    const Tensor to = out.data.slice(c, 1).reshape({shape[0], shape[1], shape[2]});
    if (shape == size) cropped = to;
    else if (!cropped) cropped = Tensor::empty({size[0], size[1], size[2]}, DType::f32);
    if (in_place) crop_in_place(sequences.sequence(c), box, cropped);
    else permute_part(sequences.sequence(c), first, plans.transpose_forward, cropped);
    normalize(cropped, configuration.normalization_schemes[k], configuration.use_mask_for_norm[k] ? seg : Tensor{},
              k < plans.intensities.size() ? plans.intensities[k] : IntensityProperties{});
    if (shape != size) resample_channel(cropped, to, p.spacing_mm, target, 3);
  }
  if (labels) {
    out.seg = resample_labels(seg, shape, p.spacing_mm, target);
    out.locations = class_locations(out.seg, names.foreground(), seed);
  }
  return out;
}

Int3 preprocessed_shape(const Geometry& geometry, const Plans& plans, const Configuration& configuration) {
  CaseProperties p;
  p.spacing_mm = spacing_of(geometry, plans);
  return resampled_shape(transposed_shape(geometry, plans), p.spacing_mm, target_spacing_mm(p, configuration));
}

size_t preprocess_bytes(const Geometry& geometry, const Plans& plans, const Configuration& configuration,
                        int64_t held) {
  CaseProperties p;
  p.spacing_mm = spacing_of(geometry, plans);
  const Int3 size = transposed_shape(geometry, plans), shape = preprocessed_shape(geometry, plans, configuration);
  const auto raw = static_cast<size_t>(volume(size)), kept = static_cast<size_t>(volume(shape));
  const size_t channels = configuration.normalization_schemes.size(), channel = raw * sizeof(float);
  const size_t sequences = static_cast<size_t>(held) * channel;
  const size_t reading = sequences + (held > 1 ? static_cast<size_t>(std::min<int64_t>(held, threads())) * channel : 0);
  const bool moved = moves_axes(plans);
  const size_t masking = sequences + raw * (moved || uses_mask(configuration) ? 2 : 1);
  const size_t resampling =
      shape == size ? 0
                    : channel + resample_scratch_bytes(size, shape, p.spacing_mm, target_spacing_mm(p, configuration));
  const size_t data = held > 1 && shape == size && !moved ? 0 : channels * kept * sizeof(float);
  const size_t filling = sequences + data + resampling + (uses_mask(configuration) ? raw : 0);
  return std::max({reading, masking, filling});
}

}  // namespace metvox
