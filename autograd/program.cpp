// SPDX-License-Identifier: Apache-2.0
#include "autograd/program.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "autograd/layout.h"
#include "kernels/collective.h"
#include "kernels/pointwise.h"
#include "tensor/align.h"
#include "tensor/async.h"
#include "tensor/event.h"
#include "tensor/replay.h"

namespace metvox {
namespace {

constexpr int kSentinel = 0xA5;
constexpr int kPoison = 0xFF;  // all ones is NaN in every float type

bool intact(const std::byte* p) {
  return std::all_of(p, p + kAlign, [](std::byte b) { return b == std::byte{kSentinel}; });
}

}  // namespace

std::byte* Arena::memory() {
  if (!memory_) {
    memory_ = Tensor::empty({static_cast<int64_t>(bytes_ + kAlign)}, DType::u8, device_, "arena");
    if (device_.is_cpu()) std::memset(static_cast<std::byte*>(memory_.view().data) + bytes_, kSentinel, kAlign);
  }
  auto* base = static_cast<std::byte*>(memory_.view().data);
  check(memory_.bytes() == bytes_ + kAlign, "Arena: a program asked for ", bytes_, " bytes after the first run");
  check(!device_.is_cpu() || intact(base + bytes_), "Arena: something wrote beyond the ", bytes_,
        " bytes that were planned");
  return base;
}

struct Program::Impl : Layout {
  ParameterBuffers parameters;
  std::shared_ptr<Arena> arena;
  Placement placement;
  Device device;
  View loss_scale;
  Tensor packed;
  uint64_t packed_version = 0;
  std::vector<Tensor> guarded;   // Placement::guarded: one a buffer
  std::map<int, Tensor> staged;  // values on their way between the host and another device, in their own type

  Impl(const Graph& g, const std::vector<Value>& out, Mode m, const Target& t, const ParameterBuffers& p,
       std::shared_ptr<Arena> a, Placement place)
      : Layout(g, out, m, t), parameters(p), arena(std::move(a)), placement(place), device(t.device) {
    check(arena->device() == device && (!p.values || p.values.device == device), "Program: for ", name_of(device),
          ", but its arena lies on ", name_of(arena->device()), " and its parameters on ", name_of(p.values.device));
    if (placement == Placement::arena) arena->require(plan->arena_bytes());
  }

  std::byte* memory(int buffer) {
    if (buffer < 0) return nullptr;
    const Buffer& b = plan->buffers()[buffer];
    if (placement == Placement::arena) return arena->memory() + b.offset;
    if (guarded.empty()) guarded.resize(plan->buffers().size());
    Tensor& t = guarded[buffer];
    if (!t) {
      t = Tensor::empty({static_cast<int64_t>(kAlign + aligned(b.bytes) + kAlign)}, DType::u8, device,
                        node(b.node).name);
      Stream stream(device);
      fill_bytes(stream, t.view(), kSentinel);
      fill_bytes(stream, inside(t, b), kPoison);
      stream.synchronize();
    }
    return static_cast<std::byte*>(t.view().data) + kAlign;
  }
  // Of a guarded block: the buffer between its sentinels.
  View inside(const Tensor& t, const Buffer& b) const {
    return {static_cast<std::byte*>(t.view().data) + kAlign, {static_cast<int64_t>(b.bytes)}, DType::u8, device};
  }

  View view(int i) {
    if (is_parameter(i)) return flat(parameters.values, i);
    return {memory(value[i]), spec(i).shape, spec(i).dtype, device};
  }
  View on_host(int i) {
    Tensor& t = staged[i];
    if (!t) t = Tensor::empty(spec(i).shape, spec(i).dtype);
    return t.view();
  }
  View flat(const View& all, int i) const {
    if (!all) return {};
    const Node& nd = node(i);
    return {static_cast<std::byte*>(all.data) + static_cast<size_t>(nd.first) * size_of(all.dtype), nd.spec.shape,
            all.dtype, device};
  }
  View moments_view(int i) {
    if (moments[i] < 0) return {};
    const Spec s = moments_spec(i);
    return {memory(moments[i]), s.shape, s.dtype, device};
  }
  View gradient_view(int i) {
    if (is_parameter(i)) return flat(parameters.grads, i);
    return {memory(gradient[i]), spec(i).shape, spec(i).dtype, device};
  }

  // Views change only with the memory, so steps are bound once.
  struct Bound {
    std::vector<View> x, x_moments, dx, target_dx;  // target_dx: what a temporary is added to
    std::vector<Grad> grad;
    View y, y_moments, dy;
    void *saved = nullptr, *packed = nullptr, *scratch_forward = nullptr, *scratch_backward = nullptr;
  };
  std::vector<Bound> bound;
  void bind() {
    if (!bound.empty()) return;
    bound.resize(n);
    if (packed_bytes) packed = Tensor::empty({static_cast<int64_t>(packed_bytes)}, DType::u8, device, "packed");
    for (int i = 0; i < n; ++i) {
      const Node& nd = node(i);
      if (!prepared[i]) continue;
      Bound& s = bound[i];
      for (int j : nd.in) s.x.push_back(view(j)), s.x_moments.push_back(moments_view(j));
      s.y = view(i);
      s.y_moments = moments_view(i);
      s.saved = memory(saved[i]);
      s.packed = packed_bytes ? static_cast<std::byte*>(packed.view().data) + packed_offset[i] : nullptr;
      s.scratch_forward = memory(scratch[i]);
      if (mode == Mode::infer || gradient[i] < 0) continue;
      s.dy = gradient_view(i);
      s.scratch_backward = memory(scratch[n + i]);
      for (size_t k = 0; k < nd.in.size(); ++k) {
        const GradientSlot& slot = slots[i][k];
        View dx = slot.mode == Grad::ignore ? View{} : gradient_view(nd.in[k]);
        s.target_dx.push_back(slot.temporary >= 0 ? dx : View{});
        if (slot.temporary >= 0) dx.data = memory(slot.temporary);
        s.dx.push_back(dx);
        s.grad.push_back(slot.temporary >= 0 ? Grad::overwrite : slot.mode);
      }
    }
  }

  Step step(Stream& stream, int i, bool backward) {
    Bound& s = bound[i];
    void* const for_call = backward ? s.scratch_backward : s.scratch_forward;
    return {stream, s.x, s.y, s.x_moments, s.y_moments, s.saved, s.packed, for_call, s.dy, s.dx, s.grad};
  }

  void begin(Stream& stream) {
    bind();
    if (placement == Placement::arena) arena->memory();  // checks that the last run stayed inside
    if (parameters.version && *parameters.version == packed_version) return;
    for (int i = 0; i < n; ++i)
      if (prepared[i]) prepared[i]->pack(step(stream, i, false));
    packed_version = parameters.version ? *parameters.version : 0;
  }

  void forward_step(Stream& stream, int i) {
    if (!prepared[i]) return;
    const NamedRange range(device, node(i).name);
    prepared[i]->forward(step(stream, i, false));
    retire(stream, i);
  }
  void backward_step(Stream& stream, int i) {
    if (!prepared[i] || gradient[i] < 0) return;
    const NamedRange range(device, node(i).name + ", backward");
    prepared[i]->backward(step(stream, i, true));
    const Bound& s = bound[i];
    for (size_t k = 0; k < s.target_dx.size(); ++k)
      if (s.target_dx[k]) add(stream, s.target_dx[k], s.dx[k], s.target_dx[k]);
    retire(stream, backward_time(i));
  }
  void start_backward(Stream& stream) {
    for (int i : unread) fill(stream, gradient_view(i), 0);
    View seed = gradient_view(outputs[0]);
    fill(stream, seed, 0);
    const View first{seed.data, {1}, seed.dtype, device};
    if (loss_scale) convert(stream, loss_scale, first);
    else fill(stream, first, 1);
  }

  // Of time(): the ops' steps, and the events before the first of a pass and behind each.
  struct Timer {
    std::vector<int> steps;
    std::vector<Event> forward, backward;
    Replay replay;
  };
  std::unique_ptr<Timer> timer;
  void make_timer() {
    timer = std::make_unique<Timer>();
    for (int i = 0; i < n; ++i)
      if (prepared[i]) timer->steps.push_back(i);
    for (size_t k = 0; k <= timer->steps.size(); ++k)
      for (std::vector<Event>* of : {&timer->forward, &timer->backward}) of->emplace_back(device);
  }
  void run_with_events(Stream& stream) {
    const auto pass = [&](std::vector<Event>& events, const auto& run_step) {
      size_t next = 0;
      events[next++].record(stream);
      for (; next < events.size(); ++next) {
        run_step(next - 1);
        events[next].record(stream);
      }
    };
    const std::vector<int>& steps = timer->steps;
    pass(timer->forward, [&](size_t k) { forward_step(stream, steps[k]); });
    if (mode == Mode::infer) return;
    start_backward(stream);
    pass(timer->backward, [&](size_t k) { backward_step(stream, steps[steps.size() - 1 - k]); });
  }

  // In guarded placement: what died at this time becomes NaN, and no step has written outside its buffers.
  void retire(Stream& stream, int time) {
    if (placement != Placement::guarded) return;
    for (size_t k = 0; k < plan->buffers().size(); ++k) {
      const Buffer& b = plan->buffers()[k];
      if (!b.lives() || guarded.size() <= k || !guarded[k]) continue;
      const size_t end = kAlign + aligned(b.bytes);
      check(intact_at(stream, guarded[k], 0) && intact_at(stream, guarded[k], end),
            "Program: a step wrote outside a buffer of ", node(b.node).name, " at time ", time);
      if (b.last == time) fill_bytes(stream, inside(guarded[k], b), kPoison);
    }
  }
  bool intact_at(Stream& stream, const Tensor& t, size_t offset) const {
    std::array<std::byte, kAlign> seen;
    transfer(stream, {static_cast<std::byte*>(t.view().data) + offset, {kAlign}, DType::u8, device},
             {seen.data(), {kAlign}, DType::u8});
    return intact(seen.data());
  }
};

Program::Program(const Graph& graph, const std::vector<Value>& outputs, Mode mode, const Target& target,
                 const ParameterBuffers& parameters, std::shared_ptr<Arena> arena, Placement placement)
    : impl_(std::make_unique<Impl>(graph, outputs, mode, target, parameters, std::move(arena), placement)) {}
Program::~Program() = default;

void Program::set(Stream& stream, Value input, View data) {
  check(!impl_->node(input.id).op && impl_->value[input.id] >= 0, "Program::set: ", impl_->node(input.id).name,
        " is no input of this program");
  const View to = impl_->view(input.id);
  check(to.shape == data.shape, "Program::set: ", impl_->node(input.id).name, " is ", to.shape, ", got ", data.shape);
  if (data.dtype == to.dtype) return transfer(stream, data, to);
  if (data.device == to.device) return convert(stream, data, to);
  check(data.device.is_cpu(), "Program::set: ", impl_->node(input.id).name, " lies on ", name_of(data.device));
  const View staged = impl_->on_host(input.id);
  Stream host;
  convert(host, data, staged);
  transfer(stream, staged, to);
}

View Program::view(Value value) const {
  const bool readable = !impl_->node(value.id).op || std::count(impl_->outputs.begin(), impl_->outputs.end(), value.id);
  check(readable, "Program::view: ", impl_->node(value.id).name, " is not among the outputs, so its bytes are reused");
  return impl_->view(value.id);
}

Tensor Program::read(Stream& stream, Value value) const {
  const View from = view(value);
  const Tensor host = Tensor::empty(from.shape, from.dtype);
  transfer(stream, from, host.view());
  return host;
}

void Program::read(Stream& stream, Value value, View to) {
  const View from = view(value);
  Stream host;
  if (from.device.is_cpu()) return convert(host, from, to);
  const View staged = impl_->on_host(value.id);
  transfer(stream, from, staged);
  convert(host, staged, to);
}

void Program::scale_loss(View factor) { impl_->loss_scale = factor; }

void Program::run(Stream& stream) {
  forward(stream);
  if (impl_->mode == Mode::train) backward(stream);
}

void Program::forward(Stream& stream) {
  impl_->begin(stream);
  for (int i = 0; i < impl_->n; ++i) impl_->forward_step(stream, i);
}

void Program::backward(Stream& stream) {
  check(impl_->mode == Mode::train, "Program::backward: this program only infers");
  impl_->start_backward(stream);
  for (int i = impl_->n - 1; i >= 0; --i) impl_->backward_step(stream, i);
  if (impl_->target.ranks) impl_->target.ranks->all_reduce(stream, impl_->parameters.grads);
}

const std::vector<Range>& Program::trained() const { return impl_->trained; }
size_t Program::arena_bytes() const { return impl_->plan->arena_bytes(); }
size_t Program::packed_bytes() const { return impl_->packed_bytes; }
const Plan& Program::plan() const { return *impl_->plan; }

std::vector<Program::Timing> Program::time(Stream& stream) {
  impl_->begin(stream);
  const bool is_first = !impl_->timer;
  if (is_first) impl_->make_timer();
  Impl::Timer& t = *impl_->timer;
  const auto work = [&] { impl_->run_with_events(stream); };
  if (impl_->placement == Placement::guarded) {
    work();  // which waits after every step
  } else {
    if (is_first && !impl_->device.is_cpu()) t.replay.run(stream, work);  // as it is; from the second run on, replayed
    t.replay.run(stream, work);
  }
  stream.synchronize();
  const Event& begin = t.forward.front();
  const auto part = [&](const std::vector<Event>& events, size_t k, Work done) {
    return Timing::Part{std::move(done), ms_between(begin, events[k]), ms_between(events[k], events[k + 1])};
  };
  std::vector<Timing> all;
  for (size_t k = 0; k < t.steps.size(); ++k) {
    const int i = t.steps[k];
    const Prepared& op = *impl_->prepared[i];
    Timing step{impl_->node(i).name,
                std::string(impl_->node(i).op->name()),
                part(t.forward, k, op.work(Pass::forward)),
                {op.work(Pass::backward)}};
    if (impl_->mode == Mode::train && impl_->gradient[i] >= 0)
      step.backward = part(t.backward, t.steps.size() - 1 - k, op.work(Pass::backward));
    all.push_back(std::move(step));
  }
  return all;
}

}  // namespace metvox
