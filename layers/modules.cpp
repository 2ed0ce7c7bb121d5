// SPDX-License-Identifier: Apache-2.0
#include "layers/modules.h"

#include <cmath>

#include "autograd/ops/conv3d.h"
#include "autograd/ops/conv_transpose3d.h"
#include "autograd/ops/norm_act.h"

namespace metvox {
namespace {

constexpr double kSlope = 0.01;
const Initial kWeight{Initial::Kind::kaiming, kSlope};
const Initial kZero{Initial::Kind::constant, 0};

}  // namespace

Value parameter(Graph& graph, const ParameterStore& store, const std::string& name) {
  for (size_t i = graph.nodes().size(); i-- > 0;)
    if (graph.nodes()[i].spec.kind == Kind::parameter && graph.nodes()[i].name == name)
      return {&graph, static_cast<int>(i)};
  const Parameter* p = store.find(name);
  check(p, "parameter: the store has none named ", name);
  return graph.parameter(name, p->shape, p->first);
}

Conv3d::Conv3d(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
               const Int3& stride, const ConvOptions& options)
    : store_(store), name_(name), kernel_(kernel), stride_(stride), bias_(options.bias) {
  const Initial torch{Initial::Kind::uniform, 1 / std::sqrt(static_cast<double>(in * volume(kernel)))};
  const bool he = options.start == Start::he;
  store.add(name + ".weight", {out, in, kernel[0], kernel[1], kernel[2]}, he ? kWeight : torch);
  if (bias_) store.add(name + ".bias", {out}, he ? kZero : torch);
}

Value Conv3d::draw(Value x, Value x2, bool bias) const {
  Graph& g = *x.graph;
  g.scope(name_);
  const Value w = parameter(g, store_, name_ + ".weight");
  const Value b = bias_ ? parameter(g, store_, name_ + ".bias") : Value{};
  return conv3d(x, x2, w, bias ? b : Value{},
                {stride_, {(kernel_[0] - 1) / 2, (kernel_[1] - 1) / 2, (kernel_[2] - 1) / 2}});
}

ConvTranspose3d::ConvTranspose3d(ParameterStore& store, const std::string& name, int64_t in, int64_t out,
                                 const Int3& stride)
    : store_(store), name_(name) {
  store.add(name + ".weight", {in, out, stride[0], stride[1], stride[2]}, kWeight);
  store.add(name + ".bias", {out}, kZero);
}

Value ConvTranspose3d::operator()(Value x) const {
  Graph& g = *x.graph;
  g.scope(name_);
  return conv_transpose3d(x, parameter(g, store_, name_ + ".weight"), parameter(g, store_, name_ + ".bias"));
}

NormAct3d::NormAct3d(ParameterStore& store, const std::string& name, int64_t channels, const NormOptions& options)
    : store_(store), name_(name), options_(options) {
  store.add(name + ".weight", {channels}, {Initial::Kind::constant, options.scale});
  store.add(name + ".bias", {channels}, kZero);
}

Value NormAct3d::operator()(Value x) const {
  Graph& g = *x.graph;
  g.scope(name_);
  return norm_act(x, parameter(g, store_, name_ + ".weight"), parameter(g, store_, name_ + ".bias"), options_.slope,
                  1e-5, options_.groups);
}

ConvNormAct::ConvNormAct(ParameterStore& store, const std::string& name, int64_t in, int64_t out, const Int3& kernel,
                         const Int3& stride)
    : conv_(store, name + ".conv", in, out, kernel, stride), norm_(store, name + ".norm", out) {}

}  // namespace metvox
