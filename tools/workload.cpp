// SPDX-License-Identifier: Apache-2.0
#include "tools/workload.h"

#include <algorithm>
#include <limits>

#include "segmentation/data/restore.h"
#include "segmentation/evaluation/case_scores.h"
#include "segmentation/training/learner.h"
#include "tensor/event.h"
#include "tensor/replay.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr int kChannels = 4;
constexpr double kLr = 1e-3;  // small: noise has nothing to teach, and the loss must stay finite

// The first two runs touch memory, pack weights and fill caches; they do not count. By the clock of the stream's
// device, on which once() puts its work; of a Stream of the CPU that is the host's.
WorkloadTime time_runs(int runs, Stream& stream, const std::function<void()>& once) {
  Event from(stream.device()), to(stream.device());
  const auto ms_of = [&](const std::function<void()>& work) {
    from.record(stream);
    work();
    to.record(stream);
    stream.synchronize();
    return ms_between(from, to);
  };
  ms_of(once);
  const double about_ms = ms_of(once);
  const int enough = static_cast<int>(std::clamp(2000 / std::max(about_ms, 1e-3), 3.0, 100.0));
  std::vector<double> ms(static_cast<size_t>(runs > 0 ? runs : enough));
  for (double& t : ms) t = ms_of(once);
  std::sort(ms.begin(), ms.end());
  WorkloadTime time;
  time.runs = static_cast<int>(ms.size());
  time.ms_min = ms.front();
  time.ms_median = ms[ms.size() / 2];
  time.clock = stream.device().is_cpu() ? "host" : "device";
  return time;
}
WorkloadTime time_runs(int runs, const std::function<void()>& once) {
  Stream host;
  return time_runs(runs, host, once);
}

Configuration u_net(const std::vector<int>& features, int64_t patch, int batch_size) {
  Configuration c;
  c.batch_size = batch_size;
  c.patch_size = {patch, patch, patch};
  Architecture& a = c.architecture;
  a.network_class_name = "PlainConvUNet";
  a.features_per_stage = features;
  a.kernel_sizes.assign(features.size(), {3, 3, 3});
  a.strides.assign(features.size(), {2, 2, 2});
  a.strides.front() = {1, 1, 1};
  a.n_conv_per_stage.assign(features.size(), 2);
  a.n_conv_per_stage_decoder.assign(features.size() - 1, 2);
  return c;
}

// A network by its name, and what it is planned as.
struct Planned {
  std::string network;
  Configuration config;
};

Planned residual_u_net(const std::vector<int>& features, int64_t patch, int batch_size) {
  Planned p{"nnunet", u_net(features, patch, batch_size)};
  Architecture& a = p.config.architecture;
  a.network_class_name = "ResidualEncoderUNet";
  for (size_t s = 0; s < features.size(); ++s) a.n_conv_per_stage[s] = s == 0 ? 1 : s == 1 ? 3 : s == 2 ? 4 : 6;
  a.n_conv_per_stage_decoder.assign(features.size() - 1, 1);
  return p;
}

struct DrawnNetwork {
  ParameterStore store;
  std::unique_ptr<Network> network;
  Graph graph;
  Value x, y;
  // levels 0: those that training has.
  DrawnNetwork(const Planned& planned, int heads, int levels, Device device = {}) : store(DType::f32, device) {
    const Configuration& c = planned.config;
    network = find_network(planned.network).make(store, c, kChannels, heads);
    if (levels == 0) levels = static_cast<int>(DeepSupervision::halving(network->outputs()).weights.size());
    const Int3 patch = c.patch();
    x = graph.input("x", {{c.batch_size, kChannels, patch[0], patch[1], patch[2]}, Kind::activation});
    y = network->build(x, levels).front();
  }
};

// Multiplications and additions of a convolution, forward; of other ops none.
double convolution_flops(const Graph& graph, const Node& node) {
  if (!node.op->name().starts_with("conv")) return 0;
  const auto spec = [&](int i) { return graph.nodes()[static_cast<size_t>(i)].spec; };
  const auto w = std::find_if(node.in.begin(), node.in.end(), [&](int i) { return spec(i).kind == Kind::parameter; });
  const Shape weights = spec(*w).shape;
  const bool transposed = node.op->name() == "conv_transpose3d";  // each weight meets each voxel of the smaller image
  const int64_t image = transposed ? spec(node.in[0]).shape.size() : node.spec.shape.size();
  return 2.0 * static_cast<double>(image) * static_cast<double>(weights.size() / weights[0]);
}

// Of every op, as often as `passes` says of its input.
std::vector<OpWork> work_of(const Graph& graph, const std::function<int(const Node& input)>& passes) {
  std::vector<OpWork> work;
  for (const Node& node : graph.nodes()) {
    if (!node.op) continue;
    const double times = passes(graph.nodes()[static_cast<size_t>(node.in[0])]);
    auto values = static_cast<double>(node.spec.shape.size());
    for (int i : node.in) values += static_cast<double>(graph.nodes()[static_cast<size_t>(i)].spec.shape.size());
    work.push_back({times * convolution_flops(graph, node), times * values});
  }
  return work;
}

Tensor noise(const Shape& shape, Random random) {
  Tensor t = Tensor::empty(shape, DType::f32);
  for (float *x = t.data<float>(), *end = x + t.size(); x != end; ++x) *x = static_cast<float>(random.uniform(-2, 2));
  return t;
}

// A case in memory: noise, and a ball of the labels 1, 2 and 3.
class BallCase {
 public:
  BallCase(const Int3& extent, Random random)
      : data_(noise({kChannels, extent[0], extent[1], extent[2]}, random)),
        seg_(Tensor::zeros({extent[0], extent[1], extent[2]}, DType::i8)) {
    auto* label = seg_.data<int8_t>();
    for (int64_t z = 0; z < extent[0]; ++z)
      for (int64_t y = 0; y < extent[1]; ++y)
        for (int64_t x = 0; x < extent[2]; ++x, ++label) {
          const Int3 at{2 * z - extent[0], 2 * y - extent[1], 2 * x - extent[2]};
          const int64_t r2 = at[0] * at[0] + at[1] * at[1] + at[2] * at[2], radius = extent[0] / 3;
          if (r2 > radius * radius) continue;
          *label = static_cast<int8_t>(1 + (z + y) % 3);
          for (int64_t v : {z, y, x}) ball_.push_back(static_cast<int32_t>(v));
        }
    case_ = {"ball", extent, data_.data<float>(), seg_.data<int8_t>(), {}};
    case_.locations.push_back({ball_.data(), {static_cast<int64_t>(ball_.size()) / 3, 3}, DType::i32});
  }
  BallCase(const BallCase&) = delete;
  const TrainingCase& get() const { return case_; }

 private:
  Tensor data_, seg_;
  std::vector<int32_t> ball_;
  TrainingCase case_;
};

LoaderPlan loader_plan(const Configuration& c, const TrainingCase& one_case, const Target& target, uint64_t seed) {
  const PatchGeometry geometry = patch_geometry(c.patch());
  LoaderPlan plan;
  plan.train = {{&one_case}, geometry.initial, training_transforms(geometry, std::vector<bool>(kChannels, true))};
  plan.channels = kChannels;
  plan.batch_size = c.batch_size;
  plan.patch = geometry.patch;
  plan.epochs = 1;
  plan.iterations = std::numeric_limits<int32_t>::max();
  plan.seed = seed;
  plan.make_for(target.device);
  return plan;
}

// Forward, loss, backward, clipping, optimizer. With the loader, every step takes a new augmented batch; a run is then
// the mean of several steps, so that batches made ahead before it do not count as free.
WorkloadTime time_step(const Planned& planned, bool with_loader, const Target& target, int runs, uint64_t seed) {
  const Configuration& c = planned.config;
  const Labels labels = brats_description("bench").labels;
  Learner learner({planned.network, default_loss(labels), kChannels, target}, c, labels);
  learner.store().initialize(seed);
  const BallCase ball({96, 112, 96}, Random(seed, 0));
  const LoaderPlan plan = loader_plan(c, ball.get(), target, seed);
  WorkloadTime time;
  if (with_loader) {
    Loader loader(plan);
    const int64_t steps = 2 * plan.slots();
    learner.upload(loader.next());
    time = time_runs(runs, [&] {
      for (int64_t i = 0; i < steps; ++i) {
        learner.start(kLr);
        learner.upload(loader.next());
        learner.finish();
      }
    });
    time.ms_min /= static_cast<double>(steps);
    time.ms_median /= static_cast<double>(steps);
  } else {
    Patch patch(kChannels, plan.patch);
    const Int3 n = plan.patch;
    Batch batch{Tensor::empty({c.batch_size, kChannels, n[0], n[1], n[2]}, DType::f32),
                Tensor::empty({c.batch_size, n[0], n[1], n[2]}, DType::u8)};
    make_batch(plan, 0, patch, batch);
    learner.upload(batch);
    time = time_runs(runs, [&] {
      learner.start(kLr);
      learner.finish();
    });
  }
  const LearnerMemory memory = learner.memory();
  time.arena_bytes = memory.arena;
  time.packed_bytes = memory.packed;
  const DrawnNetwork drawn(planned, static_cast<int>(labels.heads().size()), 0);
  // Forward, gradient of the weights, gradient of the input, which the images do not need.
  time.work = work_of(drawn.graph, [](const Node& input) { return input.op ? 3 : 2; });
  return time;
}

WorkloadTime time_forward(const Planned& planned, const Target& target, int runs, uint64_t seed) {
  DrawnNetwork net(planned, 3, 1, target.device);
  net.store.initialize(seed);
  Program program(net.graph, {net.y}, Mode::infer, target, net.store.buffers(Mode::infer),
                  std::make_shared<Arena>(target.device));
  Stream stream(target.device);
  program.set(stream, net.x, noise(net.x.shape(), Random(seed, 0)).view());
  Replay replay;  // as a Predictor has
  WorkloadTime time = time_runs(runs, stream, [&] { replay.run(stream, [&] { program.run(stream); }); });
  time.arena_bytes = program.arena_bytes();
  time.packed_bytes = program.packed_bytes();
  time.work = work_of(net.graph, [](const Node&) { return 1; });
  return time;
}

template <class F>
WorkloadTime time_on_one_thread(int runs, F&& once) {
  const int before = threads();
  set_threads(1);
  const WorkloadTime time = time_runs(runs, once);
  set_threads(before);
  return time;
}

WorkloadTime time_resample(Device device, int runs, uint64_t seed) {
  const Tensor volume = noise({1, 155, 240, 240}, Random(seed, 0)).to(device);
  const Int3 shape{186, 288, 288};
  return time_on_one_thread(runs, [&] {
    if (device.is_cpu()) resize(volume.reshape({155, 240, 240}), shape, 3);
    else resample_on_device(volume, shape, {}, 3);
  });
}

// A patch as training takes it, cut and augmented; the mean of a few, since what is done to each is drawn.
WorkloadTime time_augment(int runs, uint64_t seed) {
  constexpr int kPatches = 12;
  const Planned planned{"nnunet", u_net({8, 16}, 128, 1)};
  const BallCase ball({155, 240, 240}, Random(seed, 0));
  const LoaderPlan plan = loader_plan(planned.config, ball.get(), {}, seed);
  Patch patch(kChannels, plan.patch);
  Batch batch{Tensor::empty({1, kChannels, 128, 128, 128}, DType::f32), Tensor::empty({1, 128, 128, 128}, DType::u8)};
  WorkloadTime time = time_on_one_thread(runs, [&] {
    for (int i = 0; i < kPatches; ++i) make_batch(plan, i, patch, batch);
  });
  time.ms_min /= kPatches;
  time.ms_median /= kPatches;
  return time;
}

// Logits of 20 classes at 1.25 mm to labels at 1 mm.
WorkloadTime time_export(int runs, uint64_t seed) {
  Json json{{"background", 0}};
  for (int k = 1; k < 20; ++k) json["class" + std::to_string(k)] = k;
  const Labels labels = Labels::from_json({{"labels", json}}, "bench");
  const Int3 from{124, 192, 192}, to{155, 240, 240};
  const Tensor logits = noise({20, from[0], from[1], from[2]}, Random(seed, 0));
  const RestoreGrid grid{to, {}, to, 0, {to[1] * to[2], to[2], 1}};
  return time_on_one_thread(runs, [&] { LabelRestorer(grid, from, labels).add({logits, 0, from[0]}); });
}

// Core, ring and oedema of a lesion, as balls around one voxel.
void paint_lesion(Tensor& labels, const Int3& centre, int64_t radius) {
  const Shape& n = labels.shape();
  for (const auto& [label, r] : {std::pair{2, radius + 4}, {3, radius}, {1, radius / 2}})
    for (int64_t z = std::max<int64_t>(centre[0] - r, 0); z <= std::min(centre[0] + r, n[0] - 1); ++z)
      for (int64_t y = std::max<int64_t>(centre[1] - r, 0); y <= std::min(centre[1] + r, n[1] - 1); ++y)
        for (int64_t x = std::max<int64_t>(centre[2] - r, 0); x <= std::min(centre[2] + r, n[2] - 1); ++x) {
          const int64_t dz = z - centre[0], dy = y - centre[1], dx = x - centre[2];
          if (dz * dz + dy * dy + dx * dx <= r * r)
            labels.data<uint8_t>()[(z * n[1] + y) * n[2] + x] = static_cast<uint8_t>(label);
        }
}

// Every number of a case, as `metvox evaluate` computes them, files left out: ten lesions of 6 to 42 mm all over the
// head, predicted a voxel or two away, one missed, one false.
WorkloadTime time_evaluate(int runs, uint64_t seed) {
  constexpr int kLesions = 10;
  Tensor truth = Tensor::zeros({155, 240, 240}, DType::u8), prediction = truth.clone();
  Random random(seed, 0);
  const auto place = [&] {
    return Int3{static_cast<int64_t>(random.uniform(25, 130)), static_cast<int64_t>(random.uniform(30, 210)),
                static_cast<int64_t>(random.uniform(40, 200))};
  };
  for (int i = 0; i < kLesions; ++i) {
    const Int3 at = place();
    paint_lesion(truth, at, 3 + 2 * i);
    if (i > 0) paint_lesion(prediction, {at[0] + i % 2, at[1] - 1, at[2] + i % 3}, 3 + 2 * i - i % 2);
  }
  paint_lesion(prediction, place(), 4);
  const Geometry grid = make_geometry({240, 240, 155}, Affine{});
  return time_on_one_thread(runs, [&] { score_case("pair", prediction, truth, grid); });
}

std::vector<Workload> make_workloads() {
  using Ops = std::vector<std::string>;
  const Ops inference{"conv3d", "conv_transpose3d", "norm_act"},
      training{"conv3d", "conv_transpose3d", "norm_act", "segmentation_loss"},
      residual{"conv3d", "conv_transpose3d", "norm_act", "add_act", "avg_pool", "segmentation_loss"},
      segresnet{"conv3d", "upsample", "norm_act", "add", "segmentation_loss"};
  std::vector<Workload> all;
  const auto add_step = [&](const std::string& name, const Ops& ops, const Planned& planned, bool with_loader) {
    all.push_back({"step", name, ops, [=](const Target& target, int runs, uint64_t seed) {
                     return time_step(planned, with_loader, target, runs, seed);
                   }});
  };
  for (const bool with_loader : {false, true}) {
    const std::string how = with_loader ? " + loader" : "";
    add_step("8-16-32-64 48^3" + how, training, {"nnunet", u_net({8, 16, 32, 64}, 48, 2)}, with_loader);
    add_step("16-32-64-128 64^3" + how, training, {"nnunet", u_net({16, 32, 64, 128}, 64, 2)}, with_loader);
  }
  add_step("residual 8-16-32-64 48^3", residual, residual_u_net({8, 16, 32, 64}, 48, 2), false);
  add_step("segresnet 8 48^3", segresnet, {"segresnet", u_net({8, 16, 32, 64}, 48, 2)}, false);
  add_step("segresnet 16 64^3", segresnet, {"segresnet", u_net({16, 32, 64, 128}, 64, 2)}, false);
  Planned largest{"nnunet", u_net({32, 64, 128, 256, 320, 320}, 128, 2)};
  add_step("32..320 128^3", training, largest, false);
  all.back().only_by_name = true;  // 7.8 s and several GiB on two cores; what a GPU is judged by
  largest.config.batch_size = 1;
  all.push_back({"forward", "32..320 128^3", inference, [largest](const Target& target, int runs, uint64_t seed) {
                   return time_forward(largest, target, runs, seed);
                 }});
  all.push_back({"resample", "155x240x240>186x288x288", {}, [](const Target& target, int runs, uint64_t seed) {
                   return time_resample(target.device, runs, seed);
                 }});
  all.push_back({"augment", "4x128x128x128", {}, [](const Target&, int runs, uint64_t seed) {
                   return time_augment(runs, seed);
                 }});
  all.push_back({"export", "20 classes 124x192x192>155x240x240", {}, [](const Target&, int runs, uint64_t seed) {
                   return time_export(runs, seed);
                 }});
  all.push_back({"evaluate", "155x240x240 10 lesions", {}, [](const Target&, int runs, uint64_t seed) {
                   return time_evaluate(runs, seed);
                 }});
  return all;
}

}  // namespace

double WorkloadTime::flops() const {
  double sum = 0;
  for (const OpWork& w : work) sum += w.flops;
  return sum;
}

double WorkloadTime::floor_ms(const Ceilings& top, DType dtype) const {
  double sum = 0;
  for (const OpWork& w : work) sum += top.floor_ms(w.flops, w.values * static_cast<double>(size_of(dtype)));
  return sum;
}

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = make_workloads();
  return all;
}

}  // namespace metvox
