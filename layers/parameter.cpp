// SPDX-License-Identifier: Apache-2.0
#include "layers/parameter.h"

#include <cmath>

#include "tensor/random.h"

namespace metvox {
namespace {

constexpr int64_t kAlignElements = 16;  // each parameter begins on a cache line

// FNV-1a: a stream of random numbers for each name, so that adding a parameter does not change the others.
uint64_t stream_of(const std::string& name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : name) h = (h ^ c) * 0x100000001b3u;
  return h;
}

double standard_deviation(const Parameter& p) {
  double fan_in = 1;
  for (int i = 1; i < p.shape.rank(); ++i) fan_in *= static_cast<double>(p.shape[i]);
  return std::sqrt(2 / (1 + p.initial.value * p.initial.value) / fan_in);
}

double draw(const Parameter& p, Random& random) {
  const double value = p.initial.value;
  switch (p.initial.kind) {
    case Initial::Kind::kaiming: return standard_deviation(p) * random.normal();
    case Initial::Kind::uniform: return random.uniform(-value, value);
    default: return value;
  }
}

}  // namespace

const Parameter& ParameterStore::add(const std::string& name, const Shape& shape, Initial initial) {
  check(!values_, "ParameterStore: ", name, " is added after the buffers were taken");
  check(index_.emplace(name, parameters_.size()).second, "ParameterStore: ", name, " is there already");
  parameters_.push_back({name, shape, initial, size_});
  size_ += (shape.size() + kAlignElements - 1) / kAlignElements * kAlignElements;
  return parameters_.back();
}

const Parameter* ParameterStore::find(const std::string& name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &parameters_[it->second];
}

void ParameterStore::initialize(uint64_t seed) {
  for (const Parameter& p : parameters_) {
    Random random(seed, stream_of(p.name));
    const Tensor v = Tensor::empty(p.shape, master_);
    for (int64_t i = 0; i < v.size(); ++i) {
      const double x = draw(p, random);
      if (master_ == DType::f64) v.data<double>()[i] = x;
      else v.data<float>()[i] = static_cast<float>(x);
    }
    write(p, v);
  }
  changed();
}

void ParameterStore::allocate() const {
  if (!values_) values_ = Tensor::zeros({size_}, master_, device_, "weights");
}

View ParameterStore::values() const {
  allocate();
  return values_.view();
}
View ParameterStore::grads() const {
  if (!grads_) grads_ = Tensor::zeros({size_}, master_, device_, "gradients");
  return grads_.view();
}

View ParameterStore::part(const View& all, const Parameter& p) const {
  return {static_cast<std::byte*>(all.data) + static_cast<size_t>(p.first) * size_of(master_), p.shape, master_,
          device_};
}
View ParameterStore::value(const Parameter& p) const { return part(values(), p); }
View ParameterStore::grad(const Parameter& p) const { return part(grads(), p); }

Tensor ParameterStore::read(const Parameter& p) const {
  allocate();
  return values_.slice(p.first, p.shape.size()).reshape(p.shape).to({});
}

void ParameterStore::write(const Parameter& p, const Tensor& value) {
  Stream stream(device_);
  transfer(stream, value.view(), this->value(p));
}

ParameterBuffers ParameterStore::buffers(Mode mode) const {
  return {values(), mode == Mode::train ? grads() : View{}, &version_};
}

}  // namespace metvox
