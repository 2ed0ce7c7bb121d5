// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/predictor.h"

#include <algorithm>
#include <cmath>

#include "tensor/replay.h"

namespace metvox {

namespace {

template <class T>
bool all_finite(const T* x, int64_t n) {
  // A sum of zeros and NaNs: 0 * x is 0 for finite x only.
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += 0 * static_cast<float>(x[i]);
  return sum == 0;
}

bool all_finite(const Tensor& t) {
  return t.dtype() == DType::f16 ? all_finite(t.data<f16>(), t.size()) : all_finite(t.data<float>(), t.size());
}

f16 rounded(float value) { return f16(value); }

// sum += part, both f16; the first part is the sum.
void add(Tensor& sum, const Tensor& part) {
  if (!sum) return void(sum = part);
  f16* to = sum.data<f16>();
  for (int64_t i = 0; i < sum.size(); ++i)
    to[i] = rounded(static_cast<float>(to[i]) + static_cast<float>(part.data<f16>()[i]));
}

void divide(const Tensor& sum, float count) {
  f16* to = sum.data<f16>();
  for (int64_t i = 0; i < sum.size(); ++i) to[i] = rounded(static_cast<float>(to[i]) / count);
}

// A case and its logits (zeros) on the network's device, so that nothing waits between one window and the next; on the
// host where the device has no room for them.
std::pair<Tensor, Tensor> place(const Tensor& data, int64_t heads, DType sums, Device device) {
  const Shape& n = data.shape();
  const Shape logits{heads, n[1], n[2], n[3]};
  try {
    return {data.to(device), Tensor::zeros(logits, sums, device, "logits")};
  } catch (const Error& error) {
    if (error.fault() != Fault::memory || device.is_cpu()) throw;
    return {data, Tensor::zeros(logits, sums)};
  }
}

}  // namespace

struct Predictor::Impl {
  PredictorOptions options;
  Int3 patch{};
  int mirror_axes;
  std::vector<std::string> folds;
  ParameterStore store;
  std::unique_ptr<Network> network;
  std::vector<Tensor> waiting;  // the flat weights of each fold, when there are several
  size_t in_use = 0;            // which of them the store holds
  Graph graph;
  Value x, y;
  std::unique_ptr<Program> program;

  Impl(const ModelFolder& model, const std::vector<std::string>& wanted, const std::string& checkpoint,
       const PredictorOptions& o)
      : options(o),
        patch(model.config().patch()),
        mirror_axes(model.mirror_axes),
        folds(wanted),
        store(DType::f32, o.target.device) {
    const int64_t channels = input_channels(model.dataset, model.config());
    const int64_t heads = static_cast<int64_t>(model.dataset.labels.heads().size());
    network =
        find_network(model.network).make(store, model.config(), static_cast<int>(channels), static_cast<int>(heads));
    load(model, checkpoint);
    x = graph.input("x", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
    y = network->build(x, 1).front();
    program = std::make_unique<Program>(graph, std::vector<Value>{y}, Mode::infer, options.target,
                                        store.buffers(Mode::infer), std::make_shared<Arena>(options.target.device));
  }

  void load(const ModelFolder& model, const std::string& checkpoint) {
    check(!folds.empty(), "Predictor: no folds");
    for (const std::string& fold : folds) {
      check(std::find(model.folds.begin(), model.folds.end(), fold) != model.folds.end(), "Predictor: fold ", fold,
            " was not opened");
      const Path file = checkpoint_path(model, fold, checkpoint);
      load_parameters(store, read_safetensors(file), file);
      if (folds.size() == 1) continue;
      waiting.push_back(Tensor::empty({store.size()}, store.master(), store.device(), "fold"));
      Stream stream(store.device());
      transfer(stream, store.values(), waiting.back().view());
      stream.synchronize();
    }
    in_use = folds.size() - 1;
  }

  void use_fold(Stream& stream, size_t k) {
    if (k == in_use) return;
    transfer(stream, waiting[k].view(), store.values());
    store.changed();
    in_use = k;
  }

  // Sets of axes to mirror, as bits; an axis of one voxel has no mirror image.
  std::vector<int> flips() const {
    int axes = options.mirror ? mirror_axes : 0;
    for (int a = 0; a < 3; ++a)
      if (patch[a] == 1) axes &= ~(1 << a);
    std::vector<int> sets;
    for (int set = 0; set < 8; ++set)
      if ((set & axes) == set) sets.push_back(set);
    return sets;
  }

  // The mean over windows, the folds from first to last, and these flips.
  Tensor mean(const Tensor& data, size_t first, size_t last, const std::vector<int>& sets,
              const std::function<void(int64_t, int64_t)>& progress);
  // With f16 sums: each fold's mean is rounded before it is added.
  Tensor mean_of_halves(const Tensor& data, size_t first, size_t last, const std::vector<int>& sets,
                        const std::function<void(int64_t, int64_t)>& progress);
};

Predictor::Predictor(const ModelFolder& model, const std::vector<std::string>& folds, const std::string& checkpoint,
                     const PredictorOptions& options) {
  constexpr double kLeastStep = 0.05;  // 8000 windows where 0.5 has 8: less is no answer in any time
  if (!(options.step_size >= kLeastStep && options.step_size <= 1))
    fail(Fault::usage, "--step-size is a share of the patch from ", kLeastStep, " to 1, got ", options.step_size);
  impl_ = std::make_unique<Impl>(model, folds, checkpoint, options);
}

Predictor::~Predictor() = default;

int Predictor::heads() const { return static_cast<int>(impl_->y.shape()[1]); }

int64_t Predictor::runs(const Int3& size) const {
  return SlidingWindows(size, impl_->patch, impl_->options.step_size).count() *
         static_cast<int64_t>(impl_->flips().size() * impl_->folds.size());
}

PredictorMemory Predictor::memory() const {
  return {impl_->program->arena_bytes(), impl_->store.bytes() * (1 + impl_->waiting.size()),
          impl_->program->packed_bytes()};
}

std::vector<Predictor::Member> Predictor::members() const {
  std::vector<Member> all;
  for (size_t fold = 0; fold < impl_->folds.size(); ++fold)
    for (const int flips : impl_->flips()) all.push_back({fold, flips});
  return all;
}

Tensor Predictor::logits(const Tensor& data, const std::function<void(int64_t, int64_t)>& progress) {
  return impl_->mean(data, 0, impl_->folds.size(), impl_->flips(), progress);
}

Tensor Predictor::logits(const Tensor& data, const Member& member,
                         const std::function<void(int64_t, int64_t)>& progress) {
  return impl_->mean(data, member.fold, member.fold + 1, {member.flips}, progress);
}

Tensor Predictor::Impl::mean(const Tensor& data, size_t first, size_t last, const std::vector<int>& sets,
                             const std::function<void(int64_t, int64_t)>& progress) {
  const Shape& n = data.shape();
  check(n.rank() == 4 && n[0] == x.shape()[1], "Predictor: expects (", x.shape()[1], ", z, y, x), got ", n);
  check(first < last && last <= folds.size(), "Predictor: no such fold");
  const bool halves = options.sums == DType::f16;
  if (halves && last - first > 1) return mean_of_halves(data, first, last, sets, progress);
  const Device device = options.target.device;
  const float share = 1.f / static_cast<float>(sets.size() * (last - first));
  const View at_x = program->view(x), at_y = program->view(y);  // which takes the arena, before the case does
  const auto [volume, sum] = place(data, y.shape()[1], options.sums, device);
  const bool there = sum.device() == device;
  const Tensor in = there ? Tensor() : Tensor::empty(at_x.shape, DType::f32),
               out = there ? Tensor() : Tensor::empty(at_y.shape, DType::f32);
  const SlidingWindows windows({n[1], n[2], n[3]}, patch, options.step_size, sum.device());
  const int64_t total = windows.count() * static_cast<int64_t>(sets.size() * (last - first));
  Stream stream(device), host;
  Stream& on = there ? stream : host;
  WindowMean mean(on, y.shape()[1], patch, sum.device());
  int64_t done = 0;
  for (size_t k = first; k < last; ++k) {
    use_fold(stream, k);
    Replay replay;  // its first run packs the fold's weights
    for (int64_t window = 0; window < windows.count(); ++window) {
      for (int set : sets) {
        windows.cut(on, volume.view(), window, set, there ? at_x : in.view());
        if (!there) program->set(stream, x, in.view());
        replay.run(stream, [&] { program->run(stream); });
        if (!there) program->read(stream, y, out.view());
        if (halves) mean.add(on, there ? at_y : out.view(), set, share);
        else windows.blend(on, there ? at_y : out.view(), window, set, share, sum.view());
        progress(++done, total);
      }
      if (halves) windows.blend(on, mean, window, sum.view());
    }
  }
  const Tensor logits = sum.to({});
  windows.finish(logits);
  if (!all_finite(logits))
    fail(Fault::input, "the network's answer is not finite: the images hold extreme values, or the weights do not fit ",
         "--precision ", options.target.precision(), halves ? " or --sums f16" : "");
  return logits;
}

Tensor Predictor::Impl::mean_of_halves(const Tensor& data, size_t first, size_t last, const std::vector<int>& sets,
                                       const std::function<void(int64_t, int64_t)>& progress) {
  const auto folds_in_all = static_cast<int64_t>(last - first);
  Tensor sum;
  for (size_t k = first; k < last; ++k)
    add(sum, mean(data, k, k + 1, sets, [&](int64_t done, int64_t runs) {
          progress(static_cast<int64_t>(k - first) * runs + done, folds_in_all * runs);
        }));
  divide(sum, static_cast<float>(folds_in_all));
  return sum;
}

}  // namespace metvox
