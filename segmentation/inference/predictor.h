// SPDX-License-Identifier: Apache-2.0
// Predictor: a model that is ready to answer. Sliding windows, mirroring and folds, one program of batch 1 for all
// cases.
#pragma once
#include <functional>

#include "segmentation/data/restore.h"
#include "segmentation/inference/sliding_window.h"
#include "segmentation/networks/model.h"

namespace metvox {

struct PredictorOptions {
  double step_size = 0.5;  // of the patch, in [0.05, 1]
  bool mirror = true;      // average over all flips along the model's mirror_axes
  Target target;
  // Of a device other than the CPU: the most that is taken there. The other folds' weights then wait on the host, and
  // so do a case and its sums where they do not fit; the bits are the same.
  size_t max_device_bytes = SIZE_MAX;
  // f16: windows are summed as nnU-Net sums them (2.8.1, inference/predict_from_raw_data.py), each sum rounded to f16,
  // and so are folds. Where two labels all but tie, that rounding decides.
  DType sums = DType::f32;
};

// Bytes known before anything runs.
struct PredictorMemory {
  size_t arena = 0;    // the program's
  size_t weights = 0;  // of the fold in use
  size_t waiting = 0;  // of the others, where there are several
  bool waiting_on_host = true;
  size_t packed = 0;  // the engine's copies of the weights
};

class Predictor {
 public:
  // Reads the weights of the folds, which are of model.folds. Throws Error (Fault::memory), with the least that is
  // possible, where max_device_bytes is less.
  Predictor(const ModelFolder& model, const std::vector<std::string>& folds, const std::string& checkpoint,
            const PredictorOptions& options);
  ~Predictor();
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;

  // Logits of data f32 (C, z, y, x), a preprocessed case: the mean over windows (Gaussian), flips and folds. Planes go
  // to `sink` as they are finished, which may look at them while it is called; no more are held than a window has.
  // Faster where the target's device has room for the case and these planes, with the same bits. Throws Error
  // (Fault::input) when logits are not finite. progress(runs done, runs in all): on a GPU, runs that it has been given.
  using Progress = std::function<void(int64_t, int64_t)>;
  using Sink = std::function<void(const LogitPlanes&)>;
  void predict(const Tensor& data, const Sink& sink, const Progress& progress);
  // All of them: (heads, z, y, x), of the type of the sums.
  Tensor logits(const Tensor& data, const Progress& progress);
  // The same by one member of the ensemble: a fold (its place among those read) that sees the case mirrored along the
  // axes whose bits are set.
  struct Member {
    size_t fold = 0;
    int flips = 0;
  };
  Tensor logits(const Tensor& data, const Member& member, const Progress& progress);
  std::vector<Member> members() const;  // fold after fold
  // How often the network runs for a case of this size.
  int64_t runs(const Int3& size) const;
  PredictorMemory memory() const;
  // What a case of this size holds on the host beside its data: the sums of its windows.
  size_t sums_bytes(const Int3& size) const;
  // And on the device, if it is another and has room: these, and the case.
  size_t device_case_bytes(const Int3& size) const;
  int heads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metvox
