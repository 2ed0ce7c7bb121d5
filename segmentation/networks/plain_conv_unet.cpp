// SPDX-License-Identifier: Apache-2.0
// nnunet: the U-Net that nnU-Net plans, PlainConvUNet (MIC-DKFZ/dynamic-network-architectures, architectures/unet.py).
// Encoder stages of convolution blocks, the first of each carrying the stride; a decoder that up-samples, joins the
// skip as a second input, and has a head at every level.
#include "layers/modules.h"
#include "segmentation/networks/network.h"

namespace metvox {
namespace {

using Blocks = std::vector<ConvNormAct>;

class PlainConvUNet final : public Network {
 public:
  PlainConvUNet(ParameterStore& store, const Architecture& plan, int channels, int heads) : plan_(plan) {
    const int n = plan.n_stages();
    int64_t in = channels;
    for (int s = 0; s < n; ++s) {
      const std::string name = "encoder.stages." + std::to_string(s) + ".0.convs.";
      encoder_.push_back(blocks(store, name, plan.n_conv_per_stage[s], in, plan.features_per_stage[s],
                                plan.kernel_sizes[s], plan.strides[s]));
      in = plan.features_per_stage[s];
    }
    for (int level = 0; level < n - 1; ++level) {  // 0 is the deepest
      const int s = n - 2 - level;
      const int64_t features = plan.features_per_stage[s];
      const std::string index = std::to_string(level);
      up_.emplace_back(store, "decoder.transpconvs." + index, in, features, plan.strides[s + 1]);
      decoder_.push_back(blocks(store, "decoder.stages." + index + ".convs.", plan.n_conv_per_stage_decoder[level],
                                2 * features, features, plan.kernel_sizes[s], {1, 1, 1}));
      heads_.emplace_back(store, "decoder.seg_layers." + index, features, heads, Int3{1, 1, 1}, Int3{1, 1, 1});
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
    check(levels >= 1 && levels <= outputs(), "PlainConvUNet: ", levels, " outputs asked for, there are ", outputs());
    std::vector<Value> skips;
    for (const Blocks& stage : encoder_) skips.push_back(x = run(stage, x));
    std::vector<Value> logits;
    for (int level = 0; level < outputs(); ++level) {
      const Value skip = skips[static_cast<size_t>(outputs() - 1 - level)];
      x = run(decoder_[level], up_[level](x), skip);
      if (level >= outputs() - levels) logits.insert(logits.begin(), heads_[level](x));
    }
    return logits;
  }

 private:
  static Blocks blocks(ParameterStore& store, const std::string& name, int count, int64_t in, int64_t out,
                       const Int3& kernel, const Int3& stride) {
    Blocks b;
    for (int i = 0; i < count; ++i)
      b.emplace_back(store, name + std::to_string(i), i ? out : in, out, kernel, i ? Int3{1, 1, 1} : stride);
    return b;
  }
  static Value run(const Blocks& b, Value x, Value x2 = {}) {
    x = b[0](x, x2);
    for (size_t i = 1; i < b.size(); ++i) x = b[i](x);
    return x;
  }

  Architecture plan_;
  std::vector<Blocks> encoder_, decoder_;
  std::vector<ConvTranspose3d> up_;
  std::vector<Conv3d> heads_;
};

std::unique_ptr<Network> make(ParameterStore& store, const Configuration& config, int channels, int heads) {
  if (config.architecture.network_class_name.find("PlainConvUNet") == std::string::npos)
    fail(Fault::input, "the plan's network is ", config.architecture.network_class_name,
         ", but this version builds PlainConvUNet only; plan again with --preset default");
  return std::make_unique<PlainConvUNet>(store, config.architecture, channels, heads);
}

const NetworkEntry entry{"nnunet", {make, {}}};

}  // namespace
}  // namespace metvox
