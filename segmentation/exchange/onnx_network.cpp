// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/onnx_network.h"

#include <algorithm>
#include <set>

#include "autograd/ops/add_act.h"
#include "autograd/ops/norm_act.h"

namespace metvox {
namespace {

using Names = std::vector<std::string>;
using Integers = std::vector<int64_t>;

Integers extents(const Shape& shape) {
  Integers out;
  for (int a = 0; a < shape.rank(); ++a) out.push_back(shape[a]);
  return out;
}

// (N, C, D, H, W) of any N.
Integers of_any_batch(const Shape& shape) {
  Integers out = extents(shape);
  out[0] = -1;
  return out;
}

class Writer {
 public:
  Writer(const Graph& graph, const ParameterStore& store) : graph_(graph), store_(store) {}

  OnnxFile write(Value images, Value logits) {
    file_.input(kImages, of_any_batch(images.shape()));
    std::set<int> read;  // a bias before a norm is drawn, but nothing reads it
    for (int id = 0; id <= logits.id; ++id)
      for (int in : graph_.nodes()[static_cast<size_t>(id)].in) read.insert(in);
    for (int id = 0; id <= logits.id; ++id) {
      const Node& n = graph_.nodes()[static_cast<size_t>(id)];
      if (n.op) add(id, n);
      else names_.push_back(id == images.id ? kImages : n.name);
      if (n.first >= 0 && read.contains(id)) weight(n);
    }
    file_.node("Identity", "logits", {names_[static_cast<size_t>(logits.id)]}, "logits");
    file_.output("logits", of_any_batch(logits.shape()));
    return std::move(file_);
  }

 private:
  static constexpr const char* kImages = "images";
  const Shape& shape(int id) const { return graph_.nodes()[static_cast<size_t>(id)].spec.shape; }
  const std::string& name(const Node& n, size_t input) const { return names_[static_cast<size_t>(n.in[input])]; }

  void weight(const Node& n) {
    const Parameter* p = store_.find(n.name);
    check(p, "onnx_network: no parameter ", n.name);
    file_.weight(n.name, store_.read(*p).view(), extents(p->shape));
  }

  void add(int id, const Node& n) {
    const std::string out = "value_" + std::to_string(id), op(n.op->name());
    if (op == "conv3d") convolution(n, out);
    else if (op == "conv_transpose3d") transposed(n, out);
    else if (op == "norm_act") norm(n, out);
    else if (op == "avg_pool") pool(n, out);
    else if (op == "upsample") upsampled(n, out);
    else if (op == "add") file_.node("Add", n.name, {name(n, 0), name(n, 1)}, out);
    else if (op == "add_act") {
      file_.node("Add", n.name + ".sum", {name(n, 0), name(n, 1)}, out + "_sum");
      activation(n.name, add_act_slope(*n.op), out + "_sum", out);
    } else check(false, "onnx_network: the op ", op, " has no counterpart here");
    names_.push_back(out);
  }

  void activation(const std::string& where, double slope, const std::string& x, const std::string& out) {
    if (slope == 1) file_.node("Identity", where, {x}, out);
    else if (slope == 0) file_.node("Relu", where, {x}, out);
    else file_.node("LeakyRelu", where, {x}, out, {{"alpha", static_cast<float>(slope)}});
  }

  // Extents that divide those of y give the stride; plans see to it that they do.
  Integers stride(int x, const Shape& y) const { return {shape(x)[2] / y[2], shape(x)[3] / y[3], shape(x)[4] / y[4]}; }

  void convolution(const Node& n, const std::string& out) {
    const bool two = graph_.nodes()[static_cast<size_t>(n.in[1])].first < 0;
    const size_t w = two ? 2 : 1;
    std::string x = name(n, 0);
    if (two)
      file_.node("Concat", n.name + ".join", {x, name(n, 1)}, out + "_joined", {{"axis", int64_t{1}}}),
          x = out + "_joined";
    Names inputs{x, name(n, w)};
    if (n.in.size() > w + 1) inputs.push_back(name(n, w + 1));
    const Shape& k = shape(n.in[w]);
    const Integers kernel{k[2], k[3], k[4]}, pad{k[2] / 2, k[3] / 2, k[4] / 2};
    Integers pads = pad;
    pads.insert(pads.end(), pad.begin(), pad.end());
    file_.node("Conv", n.name, inputs, out,
               {{"kernel_shape", kernel}, {"strides", stride(n.in[0], n.spec.shape)}, {"pads", pads}});
  }

  void transposed(const Node& n, const std::string& out) {
    Names inputs{name(n, 0), name(n, 1)};
    if (n.in.size() > 2) inputs.push_back(name(n, 2));
    const Shape& k = shape(n.in[1]);
    const Integers kernel{k[2], k[3], k[4]};
    file_.node("ConvTranspose", n.name, inputs, out, {{"kernel_shape", kernel}, {"strides", kernel}});
  }

  void norm(const Node& n, const std::string& out) {
    const NormActNumbers numbers = norm_act_numbers(*n.op);
    const OnnxAttribute eps{"epsilon", static_cast<float>(numbers.eps)};
    const std::string normed = out + "_normed";
    if (numbers.groups == 0)
      file_.node("InstanceNormalization", n.name + ".norm", {name(n, 0), name(n, 1), name(n, 2)}, normed, {eps});
    else group_norm(n, numbers.groups, eps, normed);
    activation(n.name, numbers.slope, normed, out);
  }

  // ONNX has group norm from opset 18 on, in a form that 21 mended; before, it is an instance norm of groups.
  void group_norm(const Node& n, int64_t groups, const OnnxAttribute& eps, const std::string& out) {
    const auto constant = [&](const std::string& what, float value) {
      Tensor t = Tensor::empty({groups}, DType::f32);
      std::fill_n(t.data<float>(), groups, value);
      file_.weight(out + what, t.view(), {groups});
    };
    constant("_ones", 1);
    constant("_zeros", 0);
    file_.integers(out + "_grouped_shape", {0, groups, -1});
    const int64_t channels = n.spec.shape[1];
    file_.integers(out + "_channels_shape", {channels, 1, 1, 1});
    file_.node("Shape", n.name + ".shape", {name(n, 0)}, out + "_shape");
    file_.node("Reshape", n.name + ".group", {name(n, 0), out + "_grouped_shape"}, out + "_grouped");
    file_.node("InstanceNormalization", n.name + ".norm", {out + "_grouped", out + "_ones", out + "_zeros"},
               out + "_scaled", {eps});
    file_.node("Reshape", n.name + ".ungroup", {out + "_scaled", out + "_shape"}, out + "_ungrouped");
    file_.node("Reshape", n.name + ".gamma", {name(n, 1), out + "_channels_shape"}, out + "_gamma");
    file_.node("Reshape", n.name + ".beta", {name(n, 2), out + "_channels_shape"}, out + "_beta");
    file_.node("Mul", n.name + ".scale", {out + "_ungrouped", out + "_gamma"}, out + "_product");
    file_.node("Add", n.name + ".shift", {out + "_product", out + "_beta"}, out);
  }

  void pool(const Node& n, const std::string& out) {
    const Integers box = stride(n.in[0], n.spec.shape);
    file_.node("AveragePool", n.name, {name(n, 0)}, out, {{"kernel_shape", box}, {"strides", box}});
  }

  void upsampled(const Node& n, const std::string& out) {
    Tensor scales = Tensor::empty({5}, DType::f32);
    const float values[] = {1, 1, 2, 2, 2};
    std::copy_n(values, 5, scales.data<float>());
    file_.weight(out + "_scales", scales.view(), {5});
    file_.node("Resize", n.name, {name(n, 0), "", out + "_scales"}, out,
               {{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("half_pixel")}});
  }

  const Graph& graph_;
  const ParameterStore& store_;
  OnnxFile file_;
  Names names_;  // of each node's value
};

}  // namespace

OnnxFile onnx_network(Value images, Value logits, const ParameterStore& store) {
  return Writer(*images.graph, store).write(images, logits);
}

}  // namespace metvox
