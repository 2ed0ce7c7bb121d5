// SPDX-License-Identifier: Apache-2.0
// Which weights of another model a training starts from, tensor by tensor, decided before any is read. nnU-Net's rule
// (2.8.1, run/load_pretrained_weights.py): all but the segmentation heads (names with ".seg_layers."), which start
// anew, must be there and of the same shape; a network without such names, as SegResNet, gives its head too. Beyond it,
// input channels are matched by name (T1CE is T1C), in whatever order both models have them.
#pragma once
#include <optional>

#include "segmentation/networks/model.h"

namespace metvox {

// What an input channel begins with that the other model has not: the mean of its channels' weights, or zero; drop: the
// whole input convolution starts anew. Channels that only the other model has are left out.
enum class NewChannels { average, zero, drop };
NewChannels new_channels_from(const std::string& word);  // "average", "zero", "drop"

struct TransferredTensor {
  enum class How { copied, adapted, anew } how = How::copied;
  std::string name;
  Shape shape;
  std::string why;  // of what is not copied
};

const char* word_of(TransferredTensor::How how);  // "copied", "adapted", "new"

struct Transfer {
  Path from;
  std::vector<TransferredTensor> tensors;  // in the store's order
  std::string input;                       // the input convolution's weight where it is adapted
  std::vector<int> channels;               // for each input channel the other model's, or -1
  NewChannels rule = NewChannels::average;
  int64_t count(TransferredTensor::How how) const;
};

// From a checkpoint of ours, whose metadata "dataset" names its channels; one without is taken to have these. Throws
// Error (Fault::input) naming the tensor that is missing or of another shape, or, without a rule, the channels that
// differ.
Transfer plan_transfer(const ParameterStore& store, const Path& checkpoint, const std::vector<std::string>& channels,
                       const std::optional<NewChannels>& rule);
// Reads the checkpoint and writes what is copied or adapted.
void transfer_weights(ParameterStore& store, const Transfer& transfer);
// A sentence for a log, and an object with every tensor.
std::string summary(const Transfer& transfer);
Json to_json(const Transfer& transfer);

}  // namespace metvox
