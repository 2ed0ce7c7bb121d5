// SPDX-License-Identifier: Apache-2.0
// segresnet: MONAI's SegResNet (Project-MONAI/MONAI 1.3.0, monai/networks/nets/segresnet.py; Myronenko 2018 without the
// autoencoder), configured and trained as luumsk/BrainMetaSeg, trainers/nnUNetTrainerSegResNet.py: 1, 2, 2 and 4
// pre-activated residual blocks going down and one at each level going up, group norm with 8 groups, no dropout, one
// output. Of the plan it takes the number of filters to begin with; it halves every axis three times whatever the
// plan's strides and kernels say.
#include <optional>

#include "autograd/ops/add.h"
#include "autograd/ops/upsample.h"
#include "layers/modules.h"
#include "segmentation/networks/network.h"

namespace metvox {
namespace {

constexpr int64_t kGroups = 8;
constexpr int kLevels = 4, kBlocksDown[kLevels] = {1, 2, 2, 4};
const Int3 kOne{1, 1, 1}, kTwo{2, 2, 2}, kThree{3, 3, 3};
const ConvOptions kPlain{.bias = false, .start = Start::torch};

NormAct3d norm_relu(ParameterStore& store, const std::string& name, int64_t channels) {
  return {store, name, channels, {.groups = kGroups, .slope = 0}};
}

// MONAI wraps each convolution: "NAME.conv.weight".
Conv3d conv(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
            const Int3& stride = kOne) {
  return {store, name + ".conv", in, out, kernel, stride, kPlain};
}

class ResidualBlock {
 public:
  ResidualBlock(ParameterStore& store, const std::string& name, int64_t channels)
      : name_(name),
        norm1_(norm_relu(store, name + ".norm1", channels)),
        norm2_(norm_relu(store, name + ".norm2", channels)),
        conv1_(conv(store, name + ".conv1", channels, channels, kThree)),
        conv2_(conv(store, name + ".conv2", channels, channels, kThree)) {}
  Value operator()(Value x) const {
    const Value change = conv2_(norm2_(conv1_(norm1_(x))));
    x.graph->scope(name_);
    return add(change, x);
  }

 private:
  std::string name_;
  NormAct3d norm1_, norm2_;
  Conv3d conv1_, conv2_;
};

struct Stage {
  std::optional<Conv3d> down;  // all but the first
  std::vector<ResidualBlock> blocks;
};

std::vector<Stage> stages(ParameterStore& store, int64_t filters) {
  std::vector<Stage> all(kLevels);
  for (int s = 0; s < kLevels; ++s) {
    const int64_t width = filters << s;
    const std::string name = "down_layers." + std::to_string(s) + '.';
    if (s > 0) all[s].down.emplace(conv(store, name + '0', width / 2, width, kThree, kTwo));
    for (int b = 1; b <= kBlocksDown[s]; ++b) all[s].blocks.emplace_back(store, name + std::to_string(b), width);
  }
  return all;
}

// Parameters in MONAI's order.
class SegResNet final : public Network {
 public:
  SegResNet(ParameterStore& store, int64_t filters, int channels, int heads)
      : stem_(conv(store, "convInit", channels, filters, kThree)), down_(stages(store, filters)) {
    const auto each_level = [&](auto make) {  // 0 is the deepest
      for (int l = 0; l < kLevels - 1; ++l) make(std::to_string(l), filters << (kLevels - 2 - l));
    };
    each_level([&](const std::string& level, int64_t width) {
      up_blocks_.emplace_back(store, "up_layers." + level + ".0", width);
    });
    each_level([&](const std::string& level, int64_t width) {
      up_.push_back(conv(store, "up_samples." + level + ".0", 2 * width, width, kOne));
    });
    head_norm_.emplace(norm_relu(store, "conv_final.0", filters));
    head_.emplace(store, "conv_final.2.conv", filters, heads, kOne, kOne, ConvOptions{true, Start::torch});
  }

  int outputs() const override { return 1; }
  Int3 divisor() const override { return {8, 8, 8}; }

  std::vector<Value> build(Value x, int levels) const override {
    check(levels == 1, "SegResNet: ", levels, " outputs asked for, there is one");
    x = stem_(x);
    std::vector<Value> skips;
    for (const Stage& stage : down_) {
      if (stage.down) x = (*stage.down)(x);
      for (const ResidualBlock& block : stage.blocks) x = block(x);
      skips.push_back(x);
    }
    for (size_t l = 0; l < up_.size(); ++l) {
      x = up_[l](x);
      x.graph->scope("up_samples." + std::to_string(l));
      x = up_blocks_[l](add(upsample(x), skips[up_.size() - 1 - l]));
    }
    return {(*head_)((*head_norm_)(x))};
  }

 private:
  Conv3d stem_;
  std::vector<Stage> down_;
  std::vector<ResidualBlock> up_blocks_;
  std::vector<Conv3d> up_;
  std::optional<NormAct3d> head_norm_;
  std::optional<Conv3d> head_;
};

std::unique_ptr<Network> make(ParameterStore& store, const Configuration& config, int channels, int heads) {
  const int filters = config.architecture.features_per_stage.at(0);
  if (filters % kGroups != 0)
    fail(Fault::input, "segresnet normalises ", kGroups, " groups of channels, but the plan begins with ", filters,
         " features, no multiple of ", kGroups, "; plan again with --base-features 8, 16, 24 or 32");
  return std::make_unique<SegResNet>(store, filters, channels, heads);
}

const NetworkEntry entry{"segresnet", {make, {"adam", 1e-4, 0, 1e-5, 1e-5, "f32"}}};

}  // namespace
}  // namespace metvox
