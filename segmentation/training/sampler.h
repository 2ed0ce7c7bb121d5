// SPDX-License-Identifier: Apache-2.0
// Which part of which case a sample sees (nnU-Net 2.8.1, training/dataloading/data_loader.py), and batches of samples
// made by worker threads. On a device, batch i is a pure function of the seed and i, however many workers there are.
#pragma once
#include <exception>
#include <memory>

#include "segmentation/training/augment.h"
#include "segmentation/training/cases.h"
#include "tensor/tensor.h"

namespace metvox {

// First voxels that a window may have: low..high, both included. `window` is what is loaded, `patch` what remains of
// it.
struct StartRange {
  Int3 low{}, high{};
};
StartRange start_range(const Int3& case_extent, const Int3& window, const Int3& patch);

// Must this element of a batch contain foreground? The last third, rounded as nnU-Net does: element 1 of 2.
bool forced_foreground(int64_t element, int64_t batch_size);

Window draw_window(const std::vector<const TrainingCase*>& cases, const Int3& window, const Int3& patch, bool forced,
                   Random& random);

// One kind of sample: for training or for validation.
struct SampleKind {
  std::vector<const TrainingCase*> cases;
  Int3 window{};
  std::vector<Transform> transforms;
};

struct Batch {
  Tensor images;  // (N, C, D, H, W) f32, channels last in memory; both where the plan makes them
  Tensor labels;  // (N, D, H, W) u8
};

// Every epoch has `iterations` batches for training, then `val_iterations` for validation.
struct LoaderPlan {
  SampleKind train, val;
  int64_t channels = 0, previous_labels = 0, batch_size = 0;  // previous_labels as Patch has it
  Int3 patch{};
  int64_t epochs = 0, iterations = 0, val_iterations = 0, first_epoch = 0;
  uint64_t seed = 0;
  Augmentation augmentation = Augmentation::bg2;  // of train.transforms
  int workers = 1;
  std::function<void(const Window&)> sampled;  // told when a sample needs its window no more; may be empty
  bool yield_to_step = true;                   // workers run only where a core is idle: the step is on the CPU
  Device device{};                             // where steps are made
  // Batches for a step on this device. A GPU augments by itself; the workers, a few, cut parts of cases for it.
  void make_for(Device step_device);
  // Where batches are made and lie; a cascade's transforms are the CPU's alone, its batches are pinned.
  Device made_on() const { return previous_labels > 0 ? Device{} : device; }
  int64_t slots() const { return workers + 2; }
  const Int3& largest_window() const { return volume(val.window) > volume(train.window) ? val.window : train.window; }
  size_t bytes() const;  // of the ring and of the workers' patches
};

class Loader {
 public:
  explicit Loader(LoaderPlan plan);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  // The next batch in order; valid until the next call. Throws what a worker threw.
  const Batch& next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The batch itself, made by the calling thread: number `index` counted over training and validation batches of all
// epochs.
void make_batch(const LoaderPlan& plan, int64_t index, Patch& patch, Batch& batch);

}  // namespace metvox
