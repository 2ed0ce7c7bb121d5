// SPDX-License-Identifier: Apache-2.0
// Predictor: a model that is ready to answer. Sliding windows, mirroring and folds, one program of batch 1 for all
// cases.
#pragma once
#include <functional>

#include "segmentation/inference/sliding_window.h"
#include "segmentation/networks/model.h"

namespace metvox {

struct PredictorOptions {
  double step_size = 0.5;  // of the patch, in [0.05, 1]
  bool mirror = true;      // average over all flips along the model's mirror_axes
  Target target;
  // f16: windows are summed as nnU-Net sums them (2.8.1, inference/predict_from_raw_data.py), each sum rounded to f16,
  // and so are folds. Where two labels all but tie, that rounding decides.
  DType sums = DType::f32;
};

// Bytes known before anything runs.
struct PredictorMemory {
  size_t arena = 0;    // the program's
  size_t weights = 0;  // of the fold in use, and of the others waiting
  size_t packed = 0;   // the engine's copies of the weights
};

class Predictor {
 public:
  // Reads the weights of the folds, which are of model.folds.
  Predictor(const ModelFolder& model, const std::vector<std::string>& folds, const std::string& checkpoint,
            const PredictorOptions& options);
  ~Predictor();
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;

  // Logits (heads, z, y, x), of the type of the sums, of data f32 (C, z, y, x), a preprocessed case: the mean over
  // windows (Gaussian), flips and folds, on the host. Faster where the target's device has room for the case and its
  // logits. Throws Error (Fault::input) when they are not finite. progress(runs done, runs in all): on a GPU, runs that
  // it has been given.
  Tensor logits(const Tensor& data, const std::function<void(int64_t, int64_t)>& progress);
  // The same by one member of the ensemble: a fold (its place among those read) that sees the case mirrored along the
  // axes whose bits are set.
  struct Member {
    size_t fold = 0;
    int flips = 0;
  };
  Tensor logits(const Tensor& data, const Member& member, const std::function<void(int64_t, int64_t)>& progress);
  std::vector<Member> members() const;  // fold after fold
  // How often the network runs for a case of this size.
  int64_t runs(const Int3& size) const;
  PredictorMemory memory() const;
  int heads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metvox
