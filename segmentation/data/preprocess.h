// SPDX-License-Identifier: Apache-2.0
// From a raw case to what the network sees (nnU-Net 2.8.1, preprocessing/preprocessors/default_preprocessor.py).
// A preprocessed case is one file, CASE.safetensors: tensors data f32 (C, z, y, x) and, with labels, seg i8 (z, y, x)
// (-1 outside the non-zero mask) and locations_0, 1, ... i32 (n, 3), one for each of Labels::foreground(); metadata
// "properties". data and locations lie at addresses that 4 divides.
#pragma once
#include "segmentation/data/plans.h"
#include "segmentation/data/sequences.h"

namespace metvox {

// All that is needed to put a segmentation back on the input's grid. (z, y, x) after transpose_forward unless said.
struct CaseProperties {
  std::string id;
  Int3 shape_before_cropping{};
  Int3 bbox_first{}, bbox_last{};  // half open
  Int3 shape_after_cropping{};     // before resampling
  Double3 spacing_mm{};            // of the raw case
  Geometry geometry;               // of the raw file
};

struct PreprocessedCase {
  CaseProperties properties;
  Tensor data;                    // (C, z, y, x) f32
  Tensor seg;                     // (z, y, x) i8, or empty
  std::vector<Tensor> locations;  // i32 (n, 3), one a foreground target of Labels::foreground()
};

struct CropBox {
  Int3 first{}, last{};
};
// Mask: any channel non-zero, holes filled (6-connected background). Returns u8 (z, y, x).
Tensor nonzero_mask(const Tensor& data);
Tensor nonzero_mask(const SequenceSource& sequences);  // in file order
CropBox bounding_box(const Tensor& mask);

// Asks for each sequence twice, one at a time. Where nothing is resampled or turned, the data take the sequences'
// memory if they may. Labels u8 (z, y, x) as read, or empty (prediction). `seed` draws class locations.
PreprocessedCase preprocess_case(const std::string& id, const SequenceSource& sequences, const Tensor& labels,
                                 const Plans& plans, const Configuration& configuration, const Labels& names,
                                 uint64_t seed);
inline PreprocessedCase preprocess_case(const std::string& id, const CaseImages& images, const Tensor& labels,
                                        const Plans& plans, const Configuration& configuration, const Labels& names,
                                        uint64_t seed) {
  return preprocess_case(id, sequences_of(images), labels, plans, configuration, names, seed);
}
// The data's grid where nothing is cropped, the largest there can be. Throws Error (Fault::input) beyond 2^31 voxels.
Int3 preprocessed_shape(const Geometry& geometry, const Plans& plans, const Configuration& configuration);
// The most that preprocessing without labels holds at once, its result and the sequences included, of which so many
// are in memory at a time.
size_t preprocess_bytes(const Geometry& geometry, const Plans& plans, const Configuration& configuration, int64_t held);

Json to_json(const CaseProperties& properties);
CaseProperties properties_from_json(const Json& json, const Path& where);
// Spacing that a case is resampled to: the plan's; a 2-D one keeps the case's own between slices.
Double3 target_spacing_mm(const CaseProperties& properties, const Configuration& configuration);

void write_preprocessed(const Path& path, const PreprocessedCase& c);
PreprocessedCase read_preprocessed(const Path& path);
CaseProperties read_properties(const Path& path);

}  // namespace metvox
