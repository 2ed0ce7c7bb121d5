// SPDX-License-Identifier: Apache-2.0
// Augmentation: an ordered list of transforms, each applied with a probability of its own. The random numbers of a
// transform depend on the seed, the sample's number and the transform's place in the list alone, so any thread may make
// any sample.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "segmentation/training/patch.h"
#include "tensor/random.h"

namespace metvox {

struct Transform {
  std::string name;
  double probability = 1;  // of a sample
  std::function<void(Patch&, Random&)> apply;
};

// Where a patch comes from: nnU-Net 2.8.1, nnUNetTrainer's configure_rotation_dummyDA_mirroring_and_inital_patch_size.
struct PatchGeometry {
  Int3 patch{};
  Int3 initial{};         // the window that rotation and scaling draw from
  bool in_plane = false;  // a flat patch: rotate and scale within slices only ("dummy 2-D", and 2-D)
  double max_angle = 0;   // radians, either way
};
PatchGeometry patch_geometry(const Int3& patch);

// Whose transforms: bg1 is batchgenerators 0.25, as nnU-Net up to 2.3 trained with it, bg2 is batchgeneratorsv2, as
// nnU-Net 2.8.1 does. Same list and probabilities; bg1 interpolates images by cubic splines, blurs as SciPy does,
// and draws scales half the time below 1, brightness uniformly.
enum class Augmentation { bg1, bg2 };
Augmentation augmentation_from(const std::string& name);  // "bg1" or "bg2", else an Error (Fault::usage)
const char* name_of(Augmentation augmentation);

// The list of nnU-Net (nnUNetTrainer.get_training_transforms). masked[c]: channel c is 0 where the label is -1
// (use_mask_for_norm). previous_labels: of a cascade, as Patch has it.
std::vector<Transform> training_transforms(const PatchGeometry& geometry, const std::vector<bool>& masked,
                                           int64_t previous_labels = 0, Augmentation rules = Augmentation::bg2);
// The centre of the window as it stands.
std::vector<Transform> validation_transforms();

// Random streams of a sample: 0 chooses its window, 1 + k belongs to transform k.
constexpr uint64_t kStreamsPerSample = 32;
void run(const std::vector<Transform>& transforms, uint64_t seed, uint64_t sample, Patch& patch);

}  // namespace metvox
