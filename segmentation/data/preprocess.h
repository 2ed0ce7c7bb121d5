// SPDX-License-Identifier: Apache-2.0
// From a raw case to what the network sees, and the way back: nnU-Net 2.8.1,
// preprocessing/preprocessors/default_preprocessor.py and inference/export_prediction.py.
// A preprocessed case is one file, CASE.safetensors: tensors data f32 (C, z, y, x) and, with labels, seg i8 (z, y, x)
// (-1 outside the non-zero mask) and locations_0, 1, ... i32 (n, 3), one for each of Labels::foreground(); metadata
// "properties". data and locations lie at addresses that 4 divides.
#pragma once
#include "segmentation/data/plans.h"

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
CropBox bounding_box(const Tensor& mask);

// Labels u8 (z, y, x) as read, or empty (prediction). `seed` draws class locations.
PreprocessedCase preprocess_case(const std::string& id, const CaseImages& images, const Tensor& labels,
                                 const Plans& plans, const Configuration& configuration, const Labels& names,
                                 uint64_t seed);

Json to_json(const CaseProperties& properties);
CaseProperties properties_from_json(const Json& json, const Path& where);
// Spacing that a case is resampled to: the plan's; a 2-D one keeps the case's own between slices.
Double3 target_spacing_mm(const CaseProperties& properties, const Configuration& configuration);

void write_preprocessed(const Path& path, const PreprocessedCase& c);
PreprocessedCase read_preprocessed(const Path& path);
CaseProperties read_properties(const Path& path);

// Logits (R, z, y, x) f32 or f16 as preprocess_case shaped the case, to u8 labels on the raw file's grid (z, y, x in
// file order), slab by slab; of f16 ones, what is interpolated is rounded to f16, as nnU-Net has it. When
// `probabilities` is given it becomes f32 (R, ...) on that grid: sigmoid or softmax; outside the crop 0, but 1 for the
// background of a softmax.
Tensor restore_labels(const Tensor& logits, const CaseProperties& properties, const Plans& plans,
                      const Configuration& configuration, const Labels& labels, Tensor* probabilities = nullptr);
// Any maps (R, z, y, x) f32 of such a case on the raw file's grid, interpolated as logits are; 0 outside the crop.
Tensor restore_maps(const Tensor& maps, const CaseProperties& properties, const Plans& plans,
                    const Configuration& configuration);

}  // namespace metvox
