// SPDX-License-Identifier: Apache-2.0
// Models from elsewhere become model folders of ours (segmentation/networks/model.h). Everything is read and judged
// before anything is written: plans that say what this program does not do, descriptions that contradict the weights,
// weights of another shape or name are refused, Error (Fault::input), by name.
#pragma once
#include "segmentation/networks/model.h"

namespace metvox {

struct ImportedModel {
  Path model;  // the folder written
  std::vector<std::string> folds;
  int64_t weights = 0;  // numbers in one fold
  std::string network, loss, trainer;
};

// A folder that nnU-Net v2 trained: plans.json, dataset.json, fold_K/checkpoint_NAME.pth. Becomes
// RESULTS/NETWORK__LOSS__CONFIG/ with fold_K/checkpoint_NAME.safetensors; the network is told by the weights' names.
struct NnunetImport {
  Path source, results;
  std::vector<std::string> folds;    // empty: all that have the checkpoint
  std::string checkpoint = "final";  // best, latest
  bool overwrite = false;            // else a fold that is there already is Error (Fault::usage)
};
ImportedModel import_nnunet(const NnunetImport& request);

// What a file of bare weights does not say.
struct WeightsDescription {
  DatasetDescription dataset;
  Plans plans;
  std::string configuration = "3d_fullres";
};
// A MONAI SegResNet: torch.save() of its state dict, or of a dict that holds one under "state_dict", "model",
// "network_weights" or "model_state_dict". The number of filters is the file's. Becomes fold_all.
struct MonaiImport {
  Path file, results;
  WeightsDescription described;
  bool overwrite = false;
};
ImportedModel import_monai(const MonaiImport& request);

// Plans of one configuration for weights that came without: SegResNet at this spacing (mm) and patch, (z, y, x);
// z-scores, of the head alone with `mask`.
Plans plans_for_weights(const DatasetDescription& dataset, const Double3& spacing_mm, const Int3& patch, bool mask);
// {"0": NAME, ...} and {"background": 0, NAME: VALUES, ...} from texts such as "WT=1,2,3"; throws Error (Fault::usage).
// Regions are written in the order given, each by the value that no later region holds, or by its last.
DatasetDescription description_for_weights(const std::string& name, const std::vector<std::string>& channels,
                                           const std::vector<std::string>& labels);

}  // namespace metvox
