// SPDX-License-Identifier: Apache-2.0
// ParameterStore: every parameter of a network in one flat buffer on one device, every gradient in another, found by
// PyTorch's names.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "autograd/program.h"

namespace metvox {

// How a parameter begins. kaiming: normal with std = gain / sqrt(fan_in), fan_in = shape[1] * kernel volume (PyTorch's
// rule, also for transposed convolutions), gain for leaky ReLU of the given slope. uniform: between -bound and bound.
struct Initial {
  enum class Kind { constant, kaiming, uniform } kind = Kind::constant;
  double value = 0;  // the constant, the slope, or the bound
};

struct Parameter {
  std::string name;
  Shape shape;
  Initial initial;
  int64_t first = 0;  // in the flat buffers
};

class ParameterStore {
 public:
  explicit ParameterStore(DType master = DType::f32, Device device = {}) : master_(master), device_(device) {}
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // Only before the first use of the buffers; a name twice is an Error.
  const Parameter& add(const std::string& name, const Shape& shape, Initial initial);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Parameter* find(const std::string& name) const;
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * size_of(master_); }
  DType master() const { return master_; }
  Device device() const { return device_; }

  // Values as a function of (seed, parameter's name) alone.
  void initialize(uint64_t seed);
  // On the store's device.
  View value(const Parameter&) const;
  View grad(const Parameter&) const;
  // On the host: sharing the store's memory where that lies there, else a copy.
  Tensor read(const Parameter&) const;
  // Of the parameter's shape and the master type, on the host; changed() is the caller's.
  void write(const Parameter&, const Tensor& value);
  View values() const;
  View grads() const;
  // To be called after every change of the values: programs pack their copies again.
  void changed() { ++version_; }
  ParameterBuffers buffers(Mode mode) const;

 private:
  void allocate() const;
  View part(const View& all, const Parameter&) const;
  DType master_;
  Device device_;
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, size_t> index_;
  int64_t size_ = 0;
  mutable Tensor values_, grads_;
  uint64_t version_ = 1;
};

}  // namespace metvox
