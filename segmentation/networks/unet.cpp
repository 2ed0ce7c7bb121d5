// SPDX-License-Identifier: Apache-2.0
// nnunet: the U-Nets that nnU-Net plans, PlainConvUNet and, for the resenc presets, ResidualEncoderUNet
// (MIC-DKFZ/dynamic-network-architectures, architectures/unet.py). Encoder stages of convolution blocks or of residual
// blocks, the first of each carrying the stride; a decoder that up-samples, joins the skip as a second input, and has a
// head at every level.
#include <optional>

#include "autograd/ops/add_act.h"
#include "autograd/ops/avg_pool.h"
#include "layers/modules.h"
#include "segmentation/networks/network.h"

namespace metvox {
namespace {

constexpr double kSlope = 0.01;
const Int3 kOne{1, 1, 1};

using Blocks = std::vector<ConvNormAct>;

Blocks conv_blocks(ParameterStore& store, const std::string& name, int count, int64_t in, int64_t out,
                   const Int3& kernel, const Int3& stride) {
  Blocks b;
  for (int i = 0; i < count; ++i)
    b.emplace_back(store, name + std::to_string(i), i ? out : in, out, kernel, i ? kOne : stride);
  return b;
}

Value run(const Blocks& b, Value x, Value x2 = {}) {
  x = b[0](x, x2);
  for (size_t i = 1; i < b.size(); ++i) x = b[i](x);
  return x;
}

// BasicBlockD (building_blocks/residual.py; He et al. 2019): two convolutions beside a skip that takes means of the
// stride's boxes, then a 1x1x1 convolution where channels change. The last norm before the sum begins at zero, so that
// a block begins as its skip.
class ResidualBlock {
 public:
  ResidualBlock(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
                const Int3& stride)
      : name_(name),
        stride_(stride),
        conv1_(store, name + ".conv1", in, out, kernel, stride),
        conv2_(store, name + ".conv2.conv", out, out, kernel, kOne),
        norm2_(store, name + ".conv2.norm", out, {.slope = 1, .scale = 0}) {
    if (in == out) return;
    const std::string skip = name + (stride == kOne ? ".skip.0" : ".skip.1");
    project_.emplace(store, skip + ".conv", in, out, kOne, kOne, ConvOptions{.bias = false});
    norm_.emplace(store, skip + ".norm", out, NormOptions{.slope = 1});
  }

  Value operator()(Value x) const {
    const Value change = norm2_(conv2_.without_bias(conv1_(x)));
    x.graph->scope(name_ + ".skip");
    if (stride_ != kOne) x = avg_pool(x, stride_);
    if (project_) x = (*norm_)((*project_)(x));
    x.graph->scope(name_);
    return add_act(change, x, kSlope);
  }

 private:
  std::string name_;
  Int3 stride_;
  ConvNormAct conv1_;
  Conv3d conv2_;
  NormAct3d norm2_;
  std::optional<Conv3d> project_;
  std::optional<NormAct3d> norm_;
};

// The skips, finest first.
class Encoder {
 public:
  Encoder(ParameterStore& store, const Architecture& plan, int64_t in) {
    if (plan.residual()) {
      stem_ = conv_blocks(store, "encoder.stem.convs.", 1, in, plan.features_per_stage[0], plan.kernel_sizes[0], kOne);
      in = plan.features_per_stage[0];
    }
    for (int s = 0; s < plan.n_stages(); ++s) {
      const std::string name = "encoder.stages." + std::to_string(s);
      const int count = plan.n_conv_per_stage[s], out = plan.features_per_stage[s];
      const Int3 &kernel = plan.kernel_sizes[s], &stride = plan.strides[s];
      if (plan.residual()) {
        residual_.emplace_back();
        for (int b = 0; b < count; ++b)
          residual_.back().emplace_back(store, name + ".blocks." + std::to_string(b), b ? out : in, out, kernel,
                                        b ? kOne : stride);
      } else {
        plain_.push_back(conv_blocks(store, name + ".0.convs.", count, in, out, kernel, stride));
      }
      in = out;
    }
  }

  std::vector<Value> operator()(Value x) const {
    std::vector<Value> skips;
    if (!stem_.empty()) x = run(stem_, x);
    for (const Blocks& stage : plain_) skips.push_back(x = run(stage, x));
    for (const auto& stage : residual_) {
      for (const ResidualBlock& block : stage) x = block(x);
      skips.push_back(x);
    }
    return skips;
  }

 private:
  Blocks stem_;  // residual encoders have one
  std::vector<Blocks> plain_;
  std::vector<std::vector<ResidualBlock>> residual_;  // one or the other
};

class UNet final : public Network {
 public:
  UNet(ParameterStore& store, const Architecture& plan, int channels, int heads)
      : plan_(plan), encoder_(store, plan, channels) {
    const int n = plan.n_stages();
    int64_t in = plan.features_per_stage[n - 1];
    for (int level = 0; level < n - 1; ++level) {  // 0 is the deepest
      const int s = n - 2 - level;
      const int64_t features = plan.features_per_stage[s];
      const std::string index = std::to_string(level);
      up_.emplace_back(store, "decoder.transpconvs." + index, in, features, plan.strides[s + 1]);
      decoder_.push_back(conv_blocks(store, "decoder.stages." + index + ".convs.", plan.n_conv_per_stage_decoder[level],
                                     2 * features, features, plan.kernel_sizes[s], kOne));
      heads_.emplace_back(store, "decoder.seg_layers." + index, features, heads, kOne, kOne);
      in = features;
    }
  }

  int outputs() const override { return plan_.n_stages() - 1; }

  Int3 divisor() const override {
    Int3 d{1, 1, 1};
    for (const Int3& stride : plan_.strides)
      for (int a = 0; a < 3; ++a) d[a] *= stride[a];
    return d;
  }

  std::vector<Value> build(Value x, int levels) const override {
    check(levels >= 1 && levels <= outputs(), "UNet: ", levels, " outputs asked for, there are ", outputs());
    const std::vector<Value> skips = encoder_(x);
    x = skips.back();
    std::vector<Value> logits;
    for (int level = 0; level < outputs(); ++level) {
      const Value skip = skips[static_cast<size_t>(outputs() - 1 - level)];
      x = run(decoder_[level], up_[level](x), skip);
      if (level >= outputs() - levels) logits.insert(logits.begin(), heads_[level](x));
    }
    return logits;
  }

 private:
  Architecture plan_;
  Encoder encoder_;
  std::vector<Blocks> decoder_;
  std::vector<ConvTranspose3d> up_;
  std::vector<Conv3d> heads_;
};

std::unique_ptr<Network> make(ParameterStore& store, const Configuration& config, int channels, int heads) {
  return std::make_unique<UNet>(store, config.architecture, channels, heads);
}

const NetworkEntry entry{"nnunet", {make, {}}};

}  // namespace
}  // namespace metvox
