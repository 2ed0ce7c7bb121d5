// SPDX-License-Identifier: Apache-2.0
// Where an ensemble is unsure of a case: what its members (folds, mirror images) say, voxel by voxel.
#pragma once
#include "segmentation/data/labels.h"
#include "segmentation/inference/predictor.h"

namespace metvox {

// f32 (foreground targets, z, y, x) on the grid of the preprocessed case, in the order of Labels::foreground().
struct Uncertainty {
  Tensor logits;        // f32 (heads, z, y, x): means, what a prediction decides by
  Tensor probability;   // mean over folds and mirror images
  Tensor entropy;       // of that mean, in bits: -p log2 p - (1 - p) log2 (1 - p); 1 where p is a half
  Tensor disagreement;  // standard deviation over the folds of each fold's mean over mirror images; 0 with one fold
};
// data f32 (C, z, y, x), preprocessed. The network runs as often as for a prediction. progress(runs done, runs in all).
Uncertainty uncertainty_of(Predictor& predictor, const Tensor& data, const Labels& labels,
                           const std::function<void(int64_t, int64_t)>& progress);

// Probabilities of the foreground targets from logits (heads, z, y, x): sigmoids of regions, a softmax of labels.
Tensor foreground_probabilities(const Tensor& logits, const Labels& labels);
double entropy_bits(double p);

}  // namespace metvox
