// SPDX-License-Identifier: Apache-2.0
// A trained model on disk: RESULTS/NETWORK__LOSS__CONFIG/ with plans.json, dataset.json and
// fold_K/checkpoint_*.safetensors. A checkpoint holds the weights under PyTorch's names and shapes; "optimizer.STATE"
// flat buffers; metadata "metvox" (JSON: format, network, loss, configuration, fold, epoch, seed, device, engine, isa,
// threads, logging, ...), "plans", "dataset".
#pragma once
#include "io/safetensors.h"
#include "segmentation/networks/network.h"

namespace metvox {

struct ModelFolder {
  Path path;
  Plans plans;
  DatasetDescription dataset;
  std::string network, loss, configuration;  // as the checkpoints say; the folder may have been renamed
  std::vector<std::string> folds;            // "0", "1", ..., "all" that have a checkpoint, or those wanted
  std::string trainer;                       // of nnU-Net, where the weights are from there
  int mirror_axes = 7;                       // bit a: axis a of (z, y, x) was mirrored in the training of all the folds
  const Configuration& config() const { return plans.configuration(configuration, path / "plans.json"); }
};
// Channels that the network sees: the images', and in a cascade a mask for each label (1, 2, ...) of the previous
// stage.
int64_t input_channels(const DatasetDescription& dataset, const Configuration& configuration);
// How many of these are masks: 0 but in a cascade.
int64_t previous_labels(const DatasetDescription& dataset, const Configuration& configuration);
// Names for all `inputs` of a network that takes these channels.
std::vector<std::string> input_names(std::vector<std::string> channels, int64_t inputs);
// Where the folds of a model leave what they say of the cases that `next_stage` will train on:
// MODEL/predicted_next_stage/NEXT_STAGE/CASE.safetensors, a tensor "seg" i8 (z, y, x) on that configuration's grid.
Path next_stage_file(const Path& model, const std::string& next_stage, const std::string& id);
std::string model_folder_name(const std::string& network, const std::string& loss, const std::string& configuration);
// Reads no weights. Throws Error (Fault::input) naming what is missing, or the folds that are not of one model.
// `checkpoint` is "final", "best" or "latest"; folds without that file are left out. With `wanted` no other fold is
// looked at, and one without the file, or given twice, is an Error. plans.json and dataset.json must say what the
// checkpoints' own copies say, in all that prediction rests on. With `faults` a fold that cannot be used is left out
// and gets a sentence there; only a model without any other is then an Error.
ModelFolder open_model(const Path& path, const std::string& checkpoint = "final",
                       const std::vector<std::string>& wanted = {}, std::vector<std::string>* faults = nullptr);
// What both sides of a copy must agree on: throws Error (Fault::input) naming the first thing that prediction rests on
// and that `now`, read from `file`, says otherwise than what `checkpoint` was trained with.
void require_same_plans(const Plans& now, const Path& file, const Json& trained, const std::string& configuration,
                        const Path& checkpoint);
void require_same_description(const DatasetDescription& now, const Path& file, const Json& trained,
                              const Path& checkpoint);
Path checkpoint_path(const ModelFolder& model, const std::string& fold, const std::string& checkpoint);

// Copies every parameter of the store from a checkpoint; a missing name or another shape is an Error (Fault::input)
// naming the tensor, both shapes and the file.
void load_parameters(ParameterStore& store, const SafeTensors& file, const Path& named);

}  // namespace metvox
