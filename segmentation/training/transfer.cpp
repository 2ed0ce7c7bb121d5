// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/transfer.h"

#include <algorithm>
#include <set>

#include "kernels/pointwise.h"
#include "layers/named.h"
#include "segmentation/data/case_files.h"

namespace metvox {
namespace {

using How = TransferredTensor::How;

const std::map<std::string, NewChannels>& rules() {
  static const std::map<std::string, NewChannels> all{
      {"average", NewChannels::average}, {"zero", NewChannels::zero}, {"drop", NewChannels::drop}};
  return all;
}

constexpr const char* kInputs[] = {"encoder.stages.0.0.convs.0.conv.weight", "encoder.stem.convs.0.conv.weight",
                                   "convInit.conv.weight"};

bool is_head(const std::string& name) { return name.find(".seg_layers.") != std::string::npos; }

const Parameter* input_convolution(const ParameterStore& store) {
  for (const char* name : kInputs)
    if (const Parameter* p = store.find(name)) return p;
  return nullptr;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Of the model in the file, whose input convolution has this name.
std::vector<std::string> inputs_of(const SafeTensorsHeader& header, const std::string& input, const Path& checkpoint) {
  const auto text = header.metadata.find("dataset");
  const auto weight = header.specs.find(input);
  if (text == header.metadata.end() || weight == header.specs.end()) return {};
  constexpr int kRank = 5;
  constexpr int64_t kMost = 4096;
  if (weight->second.shape.rank() != kRank || weight->second.shape[1] > kMost) return {};  // require_shape() refuses it
  return input_names(description_from_json(parse_json(text->second, checkpoint), checkpoint).channel_names,
                     weight->second.shape[1]);
}

// For each of `now` the place of the same sequence in `then`, or -1.
std::vector<int> matched(const std::vector<std::string>& now, const std::vector<std::string>& then) {
  std::vector<int> out;
  for (const std::string& name : now) {
    const auto same = std::find_if(then.begin(), then.end(),
                                   [&](const std::string& other) { return sequence_key(other) == sequence_key(name); });
    out.push_back(same == then.end() ? -1 : static_cast<int>(same - then.begin()));
  }
  return out;
}

// Two channels of one name cannot be told apart by it.
bool all_differ(const std::vector<std::string>& names) {
  std::set<std::string> keys;
  for (const std::string& name : names) keys.insert(sequence_key(name));
  return keys.size() == names.size();
}

// Is every channel where it was, and none beyond?
bool in_place(const std::vector<int>& channels, size_t then) {
  for (size_t c = 0; c < channels.size(); ++c)
    if (channels[c] != static_cast<int>(c)) return false;
  return channels.size() == then;
}

std::string how_adapted(const Transfer& t, const std::vector<std::string>& now, const std::vector<std::string>& then) {
  std::string text;
  for (size_t c = 0; c < now.size(); ++c) {
    const std::string from = t.channels[c] >= 0               ? then[static_cast<size_t>(t.channels[c])]
                             : t.rule == NewChannels::average ? "the mean of all"
                                                              : "zero";
    text += (text.empty() ? "" : ", ") + now[c] + " from " + from;
  }
  return text;
}

void match_channels(Transfer& t, const ParameterStore& store, const SafeTensorsHeader& header,
                    const std::vector<std::string>& channels, const std::optional<NewChannels>& rule) {
  const Parameter* input = input_convolution(store);
  if (!input) return;
  const std::vector<std::string> now = input_names(channels, input->shape[1]),
                                 then = inputs_of(header, input->name, t.from);
  if (then.empty() || !all_differ(now) || !all_differ(then)) return;  // then channels are matched by place
  t.channels = matched(now, then);
  if (in_place(t.channels, then.size())) return;
  const bool permuted =
      then.size() == now.size() && std::find(t.channels.begin(), t.channels.end(), -1) == t.channels.end();
  if (!permuted && !rule)
    fail(Fault::input, t.from.string(), ": was trained on ", joined(then), ", this training is on ", joined(now),
         "; say with --pretrained-channels average, zero or drop how channels begin that it has not");
  t.rule = rule.value_or(NewChannels::average);
  t.input = input->name;
  const auto place =
      std::find_if(t.tensors.begin(), t.tensors.end(), [&](const auto& one) { return one.name == t.input; });
  place->how = t.rule == NewChannels::drop && !permuted ? How::anew : How::adapted;
  place->why = place->how == How::anew ? "the channels differ" : how_adapted(t, now, then);
}

void require_shape(const TransferredTensor& tensor, const SafeTensorsHeader& header, const Path& from,
                   const std::optional<int64_t>& channels_then) {
  const auto there = header.specs.find(tensor.name);
  if (there == header.specs.end())
    fail(Fault::input, from.string(), ": has no tensor ", tensor.name, ' ', tensor.shape,
         ", which the network needs; the file belongs to another plan or network");
  Shape wanted = tensor.shape;
  if (channels_then) wanted[1] = *channels_then;
  if (there->second.shape != wanted)
    fail(Fault::input, from.string(), ": ", tensor.name, " is ", there->second.shape, ", the network needs ", wanted,
         "; the file belongs to another plan or network");
}

// The weights (K, C, kernel) of another C channels, by channel.
Tensor adapted(const Tensor& from, const Shape& shape, const Transfer& t) {
  const int64_t taps = shape[2] * shape[3] * shape[4], then = from.shape()[1], now = shape[1];
  Tensor out = Tensor::zeros(shape, DType::f32);
  const float* w = from.data<float>();
  for (int64_t k = 0; k < shape[0]; ++k)
    for (int64_t c = 0; c < now; ++c)
      for (int64_t i = 0; i < taps; ++i) {
        float& to = out.data<float>()[(k * now + c) * taps + i];
        const int source = t.channels[static_cast<size_t>(c)];
        if (source >= 0) to = w[(k * then + source) * taps + i];
        else if (t.rule == NewChannels::average) {
          double sum = 0;
          for (int64_t s = 0; s < then; ++s) sum += static_cast<double>(w[(k * then + s) * taps + i]);
          to = static_cast<float>(sum / static_cast<double>(then));
        }
      }
  return out;
}

}  // namespace

const char* word_of(How how) { return how == How::copied ? "copied" : how == How::adapted ? "adapted" : "new"; }

NewChannels new_channels_from(const std::string& word) { return find_named(rules(), "rule for new channels", word); }

int64_t Transfer::count(How how) const {
  return std::count_if(tensors.begin(), tensors.end(), [&](const TransferredTensor& t) { return t.how == how; });
}

Transfer plan_transfer(const ParameterStore& store, const Path& checkpoint, const std::vector<std::string>& channels,
                       const std::optional<NewChannels>& rule) {
  if (checkpoint.extension() == ".pth" || checkpoint.extension() == ".pt")
    fail(Fault::input, checkpoint.string(), ": is a file of PyTorch; `metvox import` makes a checkpoint of it");
  Transfer t;
  t.from = checkpoint;
  const SafeTensorsHeader header = read_safetensors_header(checkpoint);
  for (const Parameter& p : store.parameters())
    t.tensors.push_back({is_head(p.name) ? How::anew : How::copied, p.name, p.shape,
                         is_head(p.name) ? "segmentation heads start anew" : ""});
  match_channels(t, store, header, channels, rule);
  for (const TransferredTensor& tensor : t.tensors) {
    if (tensor.how == How::anew) continue;
    std::optional<int64_t> then;
    if (tensor.how == How::adapted) then = static_cast<int64_t>(inputs_of(header, tensor.name, checkpoint).size());
    require_shape(tensor, header, checkpoint, then);
    const DType type = header.specs.at(tensor.name).dtype;
    if (type != DType::f64 && type != DType::f32 && type != DType::bf16)
      fail(Fault::input, checkpoint.string(), ": ", tensor.name, " is ", name_of(type),
           "; weights are f32, f64 or bf16");
  }
  return t;
}

void transfer_weights(ParameterStore& store, const Transfer& t) {
  const SafeTensors file = read_safetensors(t.from);
  Stream cpu;
  for (const TransferredTensor& tensor : t.tensors) {
    if (tensor.how == How::anew) continue;
    const Parameter* p = store.find(tensor.name);
    const auto there = file.tensors.find(tensor.name);
    check(p && there != file.tensors.end(), "transfer_weights: ", tensor.name, " has gone");
    Tensor from = Tensor::empty(there->second.shape(), DType::f32);
    convert(cpu, there->second.view(), from.view());
    if (tensor.how == How::adapted) from = adapted(from, tensor.shape, t);
    Tensor value = Tensor::empty(tensor.shape, store.master());
    convert(cpu, from.view(), value.view());
    store.write(*p, value);
  }
  store.changed();
}

std::string summary(const Transfer& t) {
  const int64_t adapted_tensors = t.count(How::adapted), anew = t.count(How::anew);
  std::string text = sentence(t.count(How::copied), " tensors taken from ", t.from.string());
  for (const TransferredTensor& tensor : t.tensors)
    if (tensor.how == How::adapted) text += sentence(", ", tensor.name, " adapted (", tensor.why, ")");
  if (anew > 0)
    text += sentence(", ", anew, " new: ", std::find_if(t.tensors.begin(), t.tensors.end(), [](const auto& x) {
                                             return x.how == How::anew;
                                           })->why);
  else if (adapted_tensors == 0) text += ", all that the network has";
  return text;
}

Json to_json(const Transfer& t) {
  Json list = Json::array();
  for (const TransferredTensor& tensor : t.tensors) {
    Json shape = Json::array();
    for (int a = 0; a < tensor.shape.rank(); ++a) shape.push_back(tensor.shape[a]);
    list.push_back({{"name", tensor.name}, {"shape", shape}, {"how", word_of(tensor.how)}, {"why", tensor.why}});
  }
  return {{"from", t.from.string()},
          {"copied", t.count(How::copied)},
          {"adapted", t.count(How::adapted)},
          {"new", t.count(How::anew)},
          {"tensors", list}};
}

}  // namespace metvox
