// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/predictor.h"

#include <algorithm>
#include <optional>

#include "kernels/pointwise.h"
#include "tensor/align.h"
#include "tensor/replay.h"

namespace metvox {

namespace {

// A case and the sums of its windows (zeros) on the network's device, so that nothing waits between one window and the
// next; on the host where the device has no room for them.
struct CaseMemory {
  Tensor volume;             // f32 (C, z, y, x)
  std::vector<Tensor> sums;  // (R, planes, y, x), rings; of f16 one a fold
  Tensor staged;             // such a ring on the host
  Tensor host;               // f32, where finished planes are read; where sums are f32 and on the host these themselves
};

CaseMemory place(const Tensor& data, const Spec& ring, size_t rings, Device device, bool fits) {
  CaseMemory m;
  const auto at = [&](Device where) {
    m = {data.to(where), {}, {}, {}};
    for (size_t k = 0; k < rings; ++k) m.sums.push_back(Tensor::zeros(ring.shape, ring.dtype, where, "sums"));
  };
  try {
    at(fits ? device : Device{});
  } catch (const Error& error) {
    if (error.fault() != Fault::memory || device.is_cpu() || !fits) throw;
    at({});
  }
  const bool here = m.sums.front().device().is_cpu();
  if (!here) m.staged = Tensor::empty(ring.shape, ring.dtype);
  if (ring.dtype == DType::f32) m.host = here ? m.sums.front() : m.staged;
  else m.host = Tensor::empty(ring.shape, DType::f32);
  return m;
}

// f(views of the rings) for the rows of memory that hold planes [first, last): one a head, two where a ring's end lies
// between.
template <class F, class... Rings>
void for_each_run(int64_t first, int64_t last, F&& f, const Tensor& ring, const Rings&... others) {
  const Shape& n = ring.shape();
  const int64_t planes = n[1], area = n[2] * n[3];
  const auto run = [&](const Tensor& t, int64_t head, int64_t z, int64_t count) {
    return t.reshape({n[0] * planes, area}).slice(head * planes + z % planes, count).view();
  };
  for (int64_t head = 0; head < n[0]; ++head)
    for (int64_t z = first; z < last;) {
      const int64_t count = std::min(last - z, planes - z % planes);
      f(run(ring, head, z, count), run(others, head, z, count)...);
      z += count;
    }
}

float rounded(float value) { return static_cast<float>(f16(value)); }

// sum += part, rounded to f16; the first part is the sum.
void add_halves(const View& part, bool first, const View& sum) {
  const f16* x = part.as<f16>();
  float* to = sum.as<float>();
  for (int64_t i = 0; i < part.size(); ++i)
    to[i] = first ? static_cast<float>(x[i]) : rounded(to[i] + static_cast<float>(x[i]));
}

void divide_halves(const View& sum, float count) {
  float* to = sum.as<float>();
  for (int64_t i = 0; i < sum.size(); ++i) to[i] = rounded(to[i] / count);
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
  Replay replay;  // of a run of the program

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
    x = graph.input("x", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
    y = network->build(x, 1).front();
    program = std::make_unique<Program>(graph, std::vector<Value>{y}, Mode::infer, options.target,
                                        store.buffers(Mode::infer), std::make_shared<Arena>(options.target.device));
    require_room();
    load(model, checkpoint);
  }

  bool limited() const { return options.max_device_bytes != SIZE_MAX && !options.target.device.is_cpu(); }
  size_t arena_bytes() const { return program->arena_bytes() + kAlign; }  // and the guard behind it
  size_t device_bytes() const { return arena_bytes() + program->packed_bytes() + store.bytes(); }
  // Of a ring of sums, and of how many.
  Spec ring(const Int3& size) const {
    return {{y.shape()[1], SlidingWindows(size, patch, options.step_size).planes_kept(), size[1], size[2]},
            options.sums};
  }
  size_t rings(size_t folds_used) const { return halves() ? folds_used : 1; }
  size_t window_bytes() const {
    return sizeof(float) * static_cast<size_t>(volume(patch)) + (halves() ? WindowMean::bytes(y.shape()[1], patch) : 0);
  }
  size_t sums_bytes(const Int3& size) const {
    const size_t one = ring(size).bytes();
    const size_t kept = options.target.device.is_cpu() ? rings(folds.size()) : 1;
    return window_bytes() + one * kept + (halves() ? 2 * one : 0);
  }
  size_t device_case_bytes(const Int3& size) const {
    return window_bytes() + ring(size).bytes() * rings(folds.size()) +
           sizeof(float) * static_cast<size_t>(x.shape()[1] * volume(size));
  }
  void require_room() const {
    if (!limited() || device_bytes() <= options.max_device_bytes) return;
    const auto mib = [](size_t bytes) { return (bytes + (1 << 20) - 1) >> 20; };
    fail(Fault::memory, "--max-vram of ", options.max_device_bytes >> 20,
         " MiB cannot be kept: the model needs at least ", mib(device_bytes()), " MiB on ",
         name_of(options.target.device), "; give --max-vram ", mib(device_bytes()), "M or more, or --device cpu");
  }

  void load(const ModelFolder& model, const std::string& checkpoint) {
    check(!folds.empty(), "Predictor: no folds");
    for (const std::string& fold : folds) {
      check(std::find(model.folds.begin(), model.folds.end(), fold) != model.folds.end(), "Predictor: fold ", fold,
            " was not opened");
      const Path file = checkpoint_path(model, fold, checkpoint);
      load_parameters(store, read_safetensors(file), file);
      if (folds.size() == 1) continue;
      waiting.push_back(Tensor::empty({store.size()}, store.master(), limited() ? Device{} : store.device(), "fold"));
      Stream stream(store.device());
      transfer(stream, store.values(), waiting.back().view());
      stream.synchronize();
    }
    in_use = folds.size() - 1;
  }

  // Are the weights others than before?
  bool use_fold(Stream& stream, size_t k) {
    if (k == in_use) return false;
    transfer(stream, waiting[k].view(), store.values());
    store.changed();
    in_use = k;
    return true;
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

  // Which members are averaged: the folds from first to last, and these flips.
  struct Members {
    size_t first, last;
    std::vector<int> flips;
    int64_t count() const { return static_cast<int64_t>((last - first) * flips.size()); }
  };
  void predict(const Tensor& data, const Members& members, const Sink& sink, const Progress& progress);
  Tensor logits(const Tensor& data, const Members& members, const Progress& progress);
  void run_windows(const CaseMemory& m, const SlidingWindows& windows, int64_t layer, const Members& members,
                   Stream& stream, const std::function<void()>& done);
  // False where a logit is not finite.
  bool finish(const CaseMemory& m, const SlidingWindows& windows, int64_t first, int64_t last, Stream& stream) const;
  bool halves() const { return options.sums == DType::f16; }
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
  const Impl& p = *impl_;
  return {p.arena_bytes(), p.store.bytes(), p.store.bytes() * p.waiting.size(),
          p.waiting.empty() || p.waiting.front().device().is_cpu(), p.program->packed_bytes()};
}

size_t Predictor::sums_bytes(const Int3& size) const { return impl_->sums_bytes(size); }
size_t Predictor::device_case_bytes(const Int3& size) const { return impl_->device_case_bytes(size); }

std::vector<Predictor::Member> Predictor::members() const {
  std::vector<Member> all;
  for (size_t fold = 0; fold < impl_->folds.size(); ++fold)
    for (const int flips : impl_->flips()) all.push_back({fold, flips});
  return all;
}

void Predictor::predict(const Tensor& data, const Sink& sink, const Progress& progress) {
  impl_->predict(data, {0, impl_->folds.size(), impl_->flips()}, sink, progress);
}

Tensor Predictor::logits(const Tensor& data, const Progress& progress) {
  return impl_->logits(data, {0, impl_->folds.size(), impl_->flips()}, progress);
}

Tensor Predictor::logits(const Tensor& data, const Member& member, const Progress& progress) {
  return impl_->logits(data, {member.fold, member.fold + 1, {member.flips}}, progress);
}

Tensor Predictor::Impl::logits(const Tensor& data, const Members& members, const Progress& progress) {
  const Shape& n = data.shape();
  const Tensor all = Tensor::empty({y.shape()[1], n[1], n[2], n[3]}, DType::f32);
  const int64_t area = n[2] * n[3];
  const auto keep = [&](const LogitPlanes& p) {
    for (int64_t r = 0; r < y.shape()[1]; ++r)
      for (int64_t z = p.first; z < p.last; ++z)
        std::copy_n(p.at(r, z), area, all.data<float>() + (r * n[1] + z) * area);
  };
  predict(data, members, keep, progress);
  if (!halves()) return all;
  const Tensor rounded = Tensor::empty(all.shape(), DType::f16);
  Stream host;
  convert(host, all.view(), rounded.view());
  return rounded;
}

// One layer after the other, so that planes are finished early; in a layer fold after fold. What a voxel is the sum of
// comes in this order wherever it is kept.
void Predictor::Impl::predict(const Tensor& data, const Members& members, const Sink& sink, const Progress& progress) {
  const Shape& n = data.shape();
  check(n.rank() == 4 && n[0] == x.shape()[1], "Predictor: expects (", x.shape()[1], ", z, y, x), got ", n);
  check(members.first < members.last && members.last <= folds.size(), "Predictor: no such fold");
  const Device device = options.target.device;
  program->view(x);  // takes the arena, before the case takes memory
  const Int3 size{n[1], n[2], n[3]};
  const bool fits = !limited() || device_bytes() + device_case_bytes(size) <= options.max_device_bytes;
  const CaseMemory m = place(data, ring(size), rings(members.last - members.first), device, fits);
  const SlidingWindows windows(size, patch, options.step_size, m.volume.device());
  const int64_t total = windows.count() * members.count();
  Stream stream(device);
  int64_t done = 0;
  for (int64_t layer = 0; layer < windows.layers(); ++layer) {
    run_windows(m, windows, layer, members, stream, [&] { progress(++done, total); });
    const int64_t begin = windows.planes_done(layer), end = windows.planes_done(layer + 1);
    if (begin == end) continue;
    if (!finish(m, windows, begin, end, stream))
      fail(Fault::input, "the network's answer is not finite: the images hold extreme values, or the weights do not ",
           "fit --precision ", options.target.precision(), halves() ? " or --sums f16" : "");
    sink({m.host, begin, end, halves()});
    for (const Tensor& sums : m.sums)
      for_each_run(
          begin, end, [&](View to) { fill_bytes(stream, to, 0); }, sums);
  }
}

bool Predictor::Impl::finish(const CaseMemory& m, const SlidingWindows& windows, int64_t first, int64_t last,
                             Stream& stream) const {
  bool finite = true;
  for (const Tensor& sums : m.sums) {
    const Tensor here = m.staged ? m.staged : sums;
    if (m.staged)
      for_each_run(
          first, last, [&](View from, View to) { transfer(stream, from, to); }, sums, here);
    finite = windows.finish(here, first, last) && finite;
    const bool begins = &sums == &m.sums.front();
    if (halves())
      for_each_run(
          first, last, [&](View from, View to) { add_halves(from, begins, to); }, here, m.host);
  }
  const auto count = static_cast<float>(m.sums.size());
  if (m.sums.size() > 1)
    for_each_run(
        first, last, [&](View to) { divide_halves(to, count); }, m.host);
  return finite;
}

void Predictor::Impl::run_windows(const CaseMemory& m, const SlidingWindows& windows, int64_t layer,
                                  const Members& members, Stream& stream, const std::function<void()>& done) {
  const float share = 1.f / static_cast<float>(halves() ? static_cast<int64_t>(members.flips.size()) : members.count());
  const View at_x = program->view(x), at_y = program->view(y);
  const bool there = m.volume.device() == stream.device();
  const Tensor in = there ? Tensor() : Tensor::empty(at_x.shape, DType::f32),
               out = there ? Tensor() : Tensor::empty(at_y.shape, DType::f32);
  Stream host;
  Stream& beside = there ? stream : host;
  std::optional<WindowMean> mean;
  if (halves()) mean.emplace(beside, y.shape()[1], patch, m.volume.device());
  const int64_t begin = layer * windows.windows_a_layer(), end = begin + windows.windows_a_layer();
  for (size_t k = members.first; k < members.last; ++k) {
    bool packed = !use_fold(stream, k);
    const View sums = m.sums[halves() ? k - members.first : 0].view();
    for (int64_t window = begin; window < end; ++window) {
      for (int set : members.flips) {
        windows.cut(beside, m.volume.view(), window, set, there ? at_x : in.view());
        if (!there) program->set(stream, x, in.view());
        // A run that packs new weights is not the same work as the others.
        if (packed) replay.run(stream, [&] { program->run(stream); });
        else program->run(stream);
        packed = true;
        if (!there) program->read(stream, y, out.view());
        if (mean) mean->add(beside, there ? at_y : out.view(), set, share);
        else windows.blend(beside, there ? at_y : out.view(), window, set, share, sums);
        done();
      }
      if (mean) windows.blend(beside, *mean, window, sums);
    }
  }
}

}  // namespace metvox
