// SPDX-License-Identifier: Apache-2.0
// Things with parameters, as networks are drawn from them. A module registers its parameters when it is made and adds
// its ops to any graph when it is called. Parameter names are PyTorch's.
#pragma once
#include "layers/parameter.h"

namespace metvox {

// A parameter of a store as a value of a graph; the same node when asked for again.
Value parameter(Graph& graph, const ParameterStore& store, const std::string& name);

// nnU-Net's start (He et al. 2015, for leaky ReLU 0.01, zero biases), or PyTorch's own: weights and biases uniform in
// +-1 / sqrt(fan_in).
enum class Start { he, torch };

// Convolution, "NAME.weight" and, with a bias, "NAME.bias"; same padding (k - 1) / 2.
struct ConvOptions {
  bool bias = true;
  Start start = Start::he;
};
class Conv3d {
 public:
  Conv3d(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
         const Int3& stride, const ConvOptions& options = {});
  Value operator()(Value x, Value x2 = {}) const { return draw(x, x2, bias_); }
  // For a norm that removes the mean behind it: the bias has no effect and is left out; it stays a trained parameter
  // with a zero gradient, as in the frameworks (weight decay still reaches it).
  Value without_bias(Value x, Value x2 = {}) const { return draw(x, x2, false); }

 private:
  Value draw(Value x, Value x2, bool bias) const;
  const ParameterStore& store_;
  std::string name_;
  Int3 kernel_, stride_;
  bool bias_;
};

// Instance norm (groups 0) or group norm, affine, "NAME.weight" (which begins at `scale`) and "NAME.bias", then leaky
// ReLU: slope 0 is ReLU, slope 1 none.
struct NormOptions {
  int64_t groups = 0;
  double slope = 0.01, scale = 1;
};
class NormAct3d {
 public:
  NormAct3d(ParameterStore& store, const std::string& name, int64_t channels, const NormOptions& options = {});
  Value operator()(Value x) const;

 private:
  const ParameterStore& store_;
  std::string name_;
  NormOptions options_;
};

// Up-sampling by the stride, "NAME.weight" and "NAME.bias".
class ConvTranspose3d {
 public:
  ConvTranspose3d(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& stride);
  Value operator()(Value x) const;

 private:
  const ParameterStore& store_;
  std::string name_;
};

// nnU-Net's block: convolution, instance norm (affine), leaky ReLU 0.01; "NAME.conv.*", "NAME.norm.*".
class ConvNormAct {
 public:
  ConvNormAct(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
              const Int3& stride);
  Value operator()(Value x, Value x2 = {}) const { return norm_(conv_.without_bias(x, x2)); }

 private:
  Conv3d conv_;
  NormAct3d norm_;
};

}  // namespace metvox
