// SPDX-License-Identifier: Apache-2.0
// Gradients reach parameters alone. So the features go through a 1x1x1 convolution that changes nothing, and the
// gradient of its bias is the sum over the grid of the features' gradients.
#include "segmentation/explain/grad_cam.h"

#include <algorithm>

#include "autograd/ops/conv3d.h"
#include "autograd/ops/weighted_sum.h"
#include "layers/modules.h"
#include "segmentation/data/resample.h"
#include "segmentation/inference/sliding_window.h"

namespace metvox {

namespace {

constexpr const char *kWeight = "grad_cam.weight", *kBias = "grad_cam.bias";

int64_t grid(const Node& node) {
  const Shape& n = node.spec.shape;
  return n.rank() == 5 && node.spec.kind == Kind::activation ? n[2] * n[3] * n[4] : 0;
}

// The last one on the smallest grid.
int deepest(const Graph& graph) {
  int found = -1;
  int64_t least = 0;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const int64_t voxels = graph.nodes()[i].op ? grid(graph.nodes()[i]) : 0;
    if (voxels == 0 || (found >= 0 && voxels > least)) continue;
    found = static_cast<int>(i);
    least = voxels;
  }
  check(found >= 0, "grad_cam: the network has no features");
  return found;
}

// `from` written once more into `to`, with what change(value) makes of the value of node `at`.
template <class F>
std::vector<Value> copy_with(const Graph& from, int at, Graph& to, F&& change) {
  std::vector<Value> values;
  for (size_t i = 0; i < from.nodes().size(); ++i) {
    const Node& node = from.nodes()[i];
    std::vector<Value> in;
    for (const int j : node.in) in.push_back(values[static_cast<size_t>(j)]);
    to.scope(node.name);
    if (node.op) values.push_back(to.add(node.op, in));
    else if (node.first >= 0) values.push_back(to.parameter(node.name, node.spec.shape, node.first));
    else values.push_back(to.input(node.name, node.spec));
    if (static_cast<int>(i) == at) values.back() = change(values.back());
  }
  return values;
}

SafeTensors with_identity(SafeTensors file, int64_t channels) {
  const Tensor weight = Tensor::zeros({channels, channels, 1, 1, 1}, DType::f32);
  for (int64_t k = 0; k < channels; ++k) weight.data<float>()[k * channels + k] = 1;
  file.tensors[kWeight] = weight;
  file.tensors[kBias] = Tensor::zeros({channels}, DType::f32);
  return file;
}

}  // namespace

struct GradCam::Impl {
  int64_t head;
  Target target;
  ParameterStore store;
  std::unique_ptr<Network> network;
  Graph graph;
  Value x, features, logits, lesion, sum;
  std::unique_ptr<Program> program;

  Impl(const ModelFolder& model, const std::string& fold, const std::string& checkpoint, int64_t h, const Target& t)
      : head(h), target(t), store(DType::f32, t.device) {
    const auto channels = static_cast<int>(input_channels(model.dataset, model.config()));
    const auto heads = static_cast<int>(model.dataset.labels.heads().size());
    network = find_network(model.network).make(store, model.config(), channels, heads);
    const Int3 patch = model.config().patch();
    Graph plain;
    const Value in = plain.input("x", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
    const Value out = network->build(in, 1).front();
    const int at = deepest(plain);
    const int64_t k = plain.nodes()[static_cast<size_t>(at)].spec.shape[1];
    store.add(kWeight, {k, k, 1, 1, 1}, {});
    store.add(kBias, {k}, {});
    const Path file = checkpoint_path(model, fold, checkpoint);
    load_parameters(store, with_identity(read_safetensors(file), k), file);
    const std::vector<Value> values = copy_with(plain, at, graph, [&](Value a) {
      graph.scope("grad_cam");
      return features = conv3d(a, {}, parameter(graph, store, kWeight), parameter(graph, store, kBias),
                               {{1, 1, 1}, {0, 0, 0}});
    });
    x = values[static_cast<size_t>(in.id)];
    logits = values[static_cast<size_t>(out.id)];
    lesion = graph.input("lesion", {logits.shape(), Kind::result});
    sum = weighted_sum(logits, lesion);
    program = std::make_unique<Program>(graph, std::vector<Value>{sum, features}, Mode::train, target,
                                        store.buffers(Mode::train), std::make_shared<Arena>(target.device));
  }
};

GradCam::GradCam(const ModelFolder& model, const std::string& fold, const std::string& checkpoint, int64_t head,
                 const Target& target)
    : impl_(std::make_unique<Impl>(model, fold, checkpoint, head, target)) {}
GradCam::~GradCam() = default;

const Shape& GradCam::features() const { return impl_->features.shape(); }
size_t GradCam::bytes() const {
  return impl_->program->arena_bytes() + impl_->program->packed_bytes() + 2 * impl_->store.bytes();
}

Tensor GradCam::operator()(const LesionWindow& window) {
  const Shape& n = impl_->logits.shape();
  const Int3 patch{n[2], n[3], n[4]};
  const int64_t heads = n[1], voxels = volume(patch);
  const Tensor weights = Tensor::zeros(n, DType::f32);  // channels last in memory
  for (int64_t i = 0; i < voxels; ++i) weights.data<float>()[i * heads + impl_->head] = window.mask.data<uint8_t>()[i];
  Stream stream(impl_->target.device);
  const Tensor there = window.data.to(impl_->target.device);
  SlidingWindows(patch, patch, 1, impl_->target.device).cut(stream, there.view(), 0, 0, impl_->program->view(impl_->x));
  impl_->program->set(stream, impl_->lesion, weights.view());
  impl_->program->run(stream);
  const Shape& f = features();
  const Tensor a = Tensor::empty(f, DType::f32);
  impl_->program->read(stream, impl_->features, a.view());
  const int64_t channels = f[1], places = f[2] * f[3] * f[4];
  const Tensor slope = Tensor::empty({channels}, DType::f32);
  transfer(stream, impl_->store.grad(*impl_->store.find(kBias)), slope.view());
  const Tensor small = Tensor::zeros({f[2], f[3], f[4]}, DType::f32);
  for (int64_t i = 0; i < places; ++i) {
    double s = 0;
    for (int64_t k = 0; k < channels; ++k)
      s += static_cast<double>(slope.data<float>()[k]) * a.data<float>()[i * channels + k];
    small.data<float>()[i] = static_cast<float>(std::max(0.0, s / static_cast<double>(places)));
  }
  return resize(small, patch, 1);
}

}  // namespace metvox
