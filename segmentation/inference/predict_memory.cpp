// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/predict_memory.h"

#include <algorithm>

#include "segmentation/data/permute.h"
#include "segmentation/data/system_memory.h"

namespace metvox {
namespace {

size_t floats(int64_t n) { return static_cast<size_t>(n) * sizeof(float); }

// The grid that preprocessing would say of a case of which nothing is cropped.
RestoreGrid whole_grid(const Geometry& g, const ModelFolder& model) {
  CaseProperties p;
  p.geometry = g;
  p.shape_before_cropping = permute(Int3{g.shape[2], g.shape[1], g.shape[0]}, model.plans.transpose_forward);
  p.shape_after_cropping = p.shape_before_cropping;
  p.spacing_mm = permute(Double3{g.spacing_mm[2], g.spacing_mm[1], g.spacing_mm[0]}, model.plans.transpose_forward);
  return file_grid(p, model.plans, model.config());
}

}  // namespace

CaseNeeds needs_of(const CaseFiles& files, const Predictor& predictor, const ModelFolder& model, bool probabilities) {
  const Geometry g = read_sequence_header(files.images.front()).geometry;
  bool turned = false;
  for (size_t c = 1; c < files.images.size(); ++c)
    turned = turned || !same_grid(read_sequence_header(files.images[c]).geometry, g);
  CaseNeeds needs;
  needs.id = files.id;
  needs.voxels = preprocessed_shape(g, model.plans, model.config());
  needs.runs = predictor.runs(needs.voxels);
  const auto channels = static_cast<int64_t>(files.images.size());
  const int64_t raw = g.shape[0] * g.shape[1] * g.shape[2], kept = volume(needs.voxels),
                inputs = input_channels(model.dataset, model.config()), masks = inputs - channels;
  // Labels of a previous stage are held from the beginning, and become masks beside a second copy of the data.
  const size_t previous = masks > 0 ? static_cast<size_t>(2 * raw) : 0;
  const size_t with_masks = masks > 0 ? floats((channels + inputs) * kept) + static_cast<size_t>(kept) : 0;
  const auto reading = [&](int64_t held) {
    const size_t bytes = preprocess_bytes(g, model.plans, model.config(), held) + (turned ? floats(raw) : 0);
    const size_t labels = masks > 0 ? floats((held > 1 ? held : 0) * raw + raw) + static_cast<size_t>(raw) : 0;
    return std::max({bytes + previous, labels, with_masks});
  };
  needs.at_once_bytes = reading(channels);
  needs.one_by_one_bytes = reading(1);
  const size_t restored = LabelRestorer::bytes(whole_grid(g, model), needs.voxels, predictor.heads(), probabilities);
  needs.running_bytes = floats(inputs * kept) + predictor.sums_bytes(needs.voxels) + restored;
  needs.writing_bytes = restored + static_cast<size_t>(raw) + static_cast<size_t>(raw) / 4;
  return needs;
}

size_t PredictNeeds::peak(bool one_by_one) const {
  size_t most = ever;
  for (size_t i = 0; i < cases.size(); ++i) {
    const CaseNeeds& c = cases[i];
    const size_t reading = (one_by_one ? c.one_by_one_bytes : c.at_once_bytes) + (i > 0 ? arena : 0);
    most = std::max(most, there + kProcessRoom + std::max(reading, arena + std::max(c.running_bytes, c.writing_bytes)));
  }
  return most;
}

const CaseNeeds* PredictNeeds::largest() const {
  const auto bytes = [](const CaseNeeds& c) {
    return std::max({c.one_by_one_bytes, c.running_bytes, c.writing_bytes});
  };
  const auto found = std::max_element(cases.begin(), cases.end(),
                                      [&](const CaseNeeds& a, const CaseNeeds& b) { return bytes(a) < bytes(b); });
  return found == cases.end() ? nullptr : &*found;
}

bool must_read_one_by_one(const PredictNeeds& needs, size_t limit_bytes) {
  if (needs.peak(false) <= limit_bytes) return false;
  const size_t least = needs.peak(true);
  if (least <= limit_bytes + kProcessJitter) return true;
  const CaseNeeds* largest = needs.largest();
  fail(Fault::memory, "--max-ram of ", limit_bytes >> 20, " MiB cannot be kept: at least ", mebibytes(least),
       " MiB are needed", largest ? sentence(", for case ", largest->id) : std::string(), " (of them the model ",
       mebibytes(needs.there + needs.arena), " MiB); give --max-ram ", mebibytes(least),
       "M or more, or predict with a model of a smaller patch");
}

}  // namespace metvox
