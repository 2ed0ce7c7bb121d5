// SPDX-License-Identifier: Apache-2.0
#include "autograd/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/pointwise.h"

namespace metvox {
namespace {

constexpr size_t kAlign = 64;
constexpr int kSentinel = 0xA5;
constexpr int kPoison = 0xFF;                       // all ones is NaN in every float type
size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

bool intact(const std::byte* p) {
  return std::all_of(p, p + kAlign, [](std::byte b) { return b == std::byte{kSentinel}; });
}

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::byte* Arena::memory() {
  if (!memory_) {
    memory_ = Tensor::empty({static_cast<int64_t>(bytes_ + kAlign)}, DType::u8);
    std::memset(static_cast<std::byte*>(memory_.view().data) + bytes_, kSentinel, kAlign);
  }
  auto* base = static_cast<std::byte*>(memory_.view().data);
  check(memory_.bytes() == bytes_ + kAlign, "Arena: a program asked for ", bytes_, " bytes after the first run");
  check(intact(base + bytes_), "Arena: something wrote beyond the ", bytes_, " bytes that were planned");
  return base;
}

// One input's gradient in one op's backward: where it goes, and through which temporary.
struct GradientSlot {
  Grad mode = Grad::ignore;
  int temporary = -1;                               // index of a buffer, or -1
};

struct Program::Impl {
  const Graph& graph;
  std::vector<int> outputs;
  Mode mode;
  Target target;
  ParameterBuffers parameters;
  std::shared_ptr<Arena> arena;
  Placement placement;

  size_t n;
  std::vector<bool> needs;                          // a gradient
  std::vector<std::unique_ptr<Prepared>> prepared;
  std::vector<std::vector<GradientSlot>> slots;
  std::vector<Buffer> wanted;                       // buffers before placement
  std::vector<int> value, gradient, saved, scratch; // of each node: index of a buffer, or -1
  std::unique_ptr<Plan> plan;
  std::vector<Range> trained;
  std::vector<int> unread;                          // parameters that no op reads
  std::vector<size_t> packed_offset;
  size_t packed_bytes = 0;
  Tensor packed;
  uint64_t packed_version = 0;
  std::vector<Tensor> guarded;                      // Placement::guarded: one a buffer

  Impl(const Graph& g, const std::vector<Value>& out, Mode m, const Target& t, const ParameterBuffers& p,
       std::shared_ptr<Arena> a, Placement place)
      : graph(g), mode(m), target(t), parameters(p), arena(std::move(a)), placement(place), n(g.nodes().size()) {
    check(!out.empty(), "Program: no outputs");
    for (const Value& v : out) outputs.push_back(v.id);
    find_needs();
    prepare();
    lay_out();
  }

  const Node& node(int i) const { return graph.nodes()[static_cast<size_t>(i)]; }
  int backward_time(int i) const { return 2 * static_cast<int>(n) - 1 - i; }
  int end() const { return 2 * static_cast<int>(n); }
  bool is_parameter(int i) const { return node(i).spec.kind == Kind::parameter; }

  // Which values the outputs depend on, and which of them need a gradient.
  std::vector<bool> used;
  std::vector<int> consumers;                       // how many inputs of used ops a value is
  void find_needs() {
    used.assign(n, false);
    needs.assign(n, false);
    consumers.assign(n, 0);
    for (int o : outputs) used[o] = true;
    for (int i = static_cast<int>(n) - 1; i >= 0; --i)
      if (used[i])
        for (int j : node(i).in) {
          used[j] = true;
          ++consumers[j];
        }
    for (int o : outputs) ++consumers[o];           // who reads it after the run
    if (mode == Mode::infer) return;
    for (size_t i = 0; i < n; ++i) {
      if (used[i] && is_parameter(static_cast<int>(i))) needs[i] = true;
      if (used[i])
        for (int j : node(static_cast<int>(i)).in) needs[i] = needs[i] || needs[j];
    }
  }

  void prepare() {
    prepared.resize(n);
    packed_offset.resize(n);
    for (size_t i = 0; i < n; ++i) {
      const Node& nd = graph.nodes()[i];
      if (is_parameter(static_cast<int>(i)) && mode == Mode::train) {
        trained.push_back({nd.first, nd.spec.shape.size()});
        if (!used[i]) unread.push_back(static_cast<int>(i));
      }
      if (!nd.op || !used[i]) continue;
      std::vector<Spec> x;
      Setting setting{{}, in_memory(nd.spec, target), {}, target};
      for (int j : nd.in) {
        x.push_back(in_memory(node(j).spec, target));
        setting.wants_gradient.push_back(needs[j]);
      }
      setting.x = x;
      prepared[i] = nd.op->prepare(setting);
      packed_offset[i] = packed_bytes;
      packed_bytes += aligned(prepared[i]->packed_bytes());
    }
    std::sort(trained.begin(), trained.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
    std::vector<Range> merged;
    for (const Range& r : trained) {
      if (!merged.empty() && merged.back().first + merged.back().count == r.first)
        merged.back().count += r.count;
      else
        merged.push_back(r);
    }
    trained = merged;
  }

  int wish(Buffer::Role role, int i, size_t bytes, int input = -1) {
    Buffer b;
    b.role = role;
    b.node = i;
    b.input = input;
    b.bytes = bytes;
    wanted.push_back(b);
    return static_cast<int>(wanted.size()) - 1;
  }
  void touch(int buffer, int time) {
    if (buffer >= 0) wanted[buffer].touch(time);
  }

  void lay_out() {
    value.assign(n, -1);
    gradient.assign(n, -1);
    saved.assign(n, -1);
    scratch.assign(2 * n, -1);
    slots.resize(n);
    for (int i = 0; i < static_cast<int>(n); ++i) lay_out_forward(i);
    for (int o : outputs) touch(value[o], end());
    if (mode == Mode::train) lay_out_backward();
    plan = std::make_unique<Plan>(wanted);
    if (placement == Placement::arena) arena->require(plan->arena_bytes());
    log("plan", plan->describe_peak(names()));
  }

  void lay_out_forward(int i) {
    const Node& nd = node(i);
    if (!used[i] || is_parameter(i)) return;
    value[i] = forward_in_place(i);
    if (value[i] < 0) value[i] = wish(Buffer::Role::value, i, in_memory(nd.spec, target).bytes());
    if (!nd.op) {                                   // an input stays for the whole run, so that a run can be repeated
      touch(value[i], 0);
      touch(value[i], end());
      return;
    }
    touch(value[i], i);
    for (int j : nd.in) touch(value[j], i);
    if (size_t bytes = prepared[i]->forward_scratch_bytes()) {
      scratch[i] = wish(Buffer::Role::scratch, i, bytes);
      touch(scratch[i], i);
    }
    if (size_t bytes = prepared[i]->saved_bytes()) {
      saved[i] = wish(Buffer::Role::saved, i, bytes);
      touch(saved[i], i);
      if (needs[i]) touch(saved[i], backward_time(i));
    }
  }

  // The buffer of an input that nobody else looks at, where the op may write over it; else -1.
  int forward_in_place(int i) const {
    const Node& nd = node(i);
    if (!nd.op || mode == Mode::train) return -1;
    for (int k = 0; k < static_cast<int>(nd.in.size()); ++k)
      if (prepared[i]->in_place(k) && node(nd.in[k]).op && consumers[nd.in[k]] == 1) return value[nd.in[k]];
    return -1;
  }

  void lay_out_backward() {
    std::vector<bool> written(n, false);
    const int loss = outputs[0];
    check(needs[loss], "Program: the loss does not depend on any parameter");
    gradient[loss] = wish(Buffer::Role::gradient, loss, in_memory(node(loss).spec, target).bytes());
    for (int i = static_cast<int>(n) - 1; i >= 0; --i) {
      const Node& nd = node(i);
      if (!nd.op || !needs[i]) continue;
      const int b = backward_time(i);
      if (gradient[i] < 0) continue;                // nothing differentiable depends on it
      touch(gradient[i], b);
      if (size_t bytes = prepared[i]->backward_scratch_bytes()) {
        scratch[n + i] = wish(Buffer::Role::scratch, i, bytes);
        touch(scratch[n + i], b);
      }
      if (nd.op->reads_output()) touch(value[i], b);
      for (int k = 0; k < static_cast<int>(nd.in.size()); ++k) {
        const int j = nd.in[k];
        if (nd.op->reads_input(k)) touch(value[j], b);
        slots[i].push_back(gradient_slot(i, k, j, b, written));
      }
    }
  }

  GradientSlot gradient_slot(int i, int k, int j, int b, std::vector<bool>& written) {
    if (!needs[j]) return {};
    GradientSlot slot{written[j] ? Grad::accumulate : Grad::overwrite, -1};
    written[j] = true;
    if (is_parameter(j)) return slot;
    const size_t bytes = in_memory(node(j).spec, target).bytes();
    if (gradient[j] < 0 && prepared[i]->in_place(k)) gradient[j] = gradient[i];
    if (gradient[j] < 0) gradient[j] = wish(Buffer::Role::gradient, j, bytes);
    touch(gradient[j], b);
    if (slot.mode == Grad::accumulate && !prepared[i]->accumulates(k)) {
      slot.temporary = wish(Buffer::Role::temporary, i, bytes, k);
      touch(slot.temporary, b);
    }
    return slot;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Node& nd : graph.nodes()) out.push_back(nd.name);
    return out;
  }

  // ---- running -------------------------------------------------------------------------------------------------------
  std::byte* memory(int buffer) {
    if (buffer < 0) return nullptr;
    const Buffer& b = plan->buffers()[buffer];
    if (placement == Placement::arena) return arena->memory() + b.offset;
    if (guarded.empty()) guarded.resize(plan->buffers().size());
    Tensor& t = guarded[buffer];
    if (!t) {
      t = Tensor::empty({static_cast<int64_t>(kAlign + aligned(b.bytes) + kAlign)}, DType::u8);
      auto* p = static_cast<std::byte*>(t.view().data);
      std::memset(p, kSentinel, t.bytes());
      std::memset(p + kAlign, kPoison, b.bytes);
    }
    return static_cast<std::byte*>(t.view().data) + kAlign;
  }

  View view(int i) {
    const Spec spec = in_memory(node(i).spec, target);
    if (is_parameter(i)) return flat(parameters.values, i);
    return {memory(value[i]), spec.shape, spec.dtype};
  }
  View flat(const View& all, int i) const {
    if (!all) return {};
    const Node& nd = node(i);
    return {static_cast<std::byte*>(all.data) + static_cast<size_t>(nd.first) * size_of(all.dtype), nd.spec.shape, all.dtype};
  }
  View gradient_view(int i) {
    if (is_parameter(i)) return flat(parameters.grads, i);
    const Spec spec = in_memory(node(i).spec, target);
    return {memory(gradient[i]), spec.shape, spec.dtype};
  }

  // Views change only with the memory, so steps are bound once.
  struct Bound {
    std::vector<View> x, dx, target_dx;             // target_dx: what a temporary is added to
    std::vector<Grad> grad;
    View y, dy;
    void *saved = nullptr, *packed = nullptr, *scratch_forward = nullptr, *scratch_backward = nullptr;
  };
  std::vector<Bound> bound;
  void bind() {
    if (!bound.empty()) return;
    bound.resize(n);
    if (packed_bytes) packed = Tensor::empty({static_cast<int64_t>(packed_bytes)}, DType::u8);
    for (int i = 0; i < static_cast<int>(n); ++i) {
      const Node& nd = node(i);
      if (!prepared[i]) continue;
      Bound& s = bound[i];
      for (int j : nd.in) s.x.push_back(view(j));
      s.y = view(i);
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
    return {stream, s.x, s.y, s.saved, s.packed, backward ? s.scratch_backward : s.scratch_forward, s.dy, s.dx, s.grad};
  }

  void begin(Stream& stream) {
    bind();
    if (placement == Placement::arena) arena->memory();          // checks that the last run stayed inside
    if (parameters.version && *parameters.version == packed_version) return;
    for (int i = 0; i < static_cast<int>(n); ++i)
      if (prepared[i]) prepared[i]->pack(step(stream, i, false));
    packed_version = parameters.version ? *parameters.version : 0;
  }

  void forward_step(Stream& stream, int i) {
    if (!prepared[i]) return;
    prepared[i]->forward(step(stream, i, false));
    retire(i);
  }
  void backward_step(Stream& stream, int i) {
    if (!prepared[i] || gradient[i] < 0) return;
    prepared[i]->backward(step(stream, i, true));
    const Bound& s = bound[i];
    for (size_t k = 0; k < s.target_dx.size(); ++k)
      if (s.target_dx[k]) add(stream, s.target_dx[k], s.dx[k], s.target_dx[k]);
    retire(backward_time(i));
  }
  void start_backward(Stream& stream) {
    for (int i : unread) fill(stream, gradient_view(i), 0);
    View seed = gradient_view(outputs[0]);
    fill(stream, seed, 0);
    fill(stream, {seed.data, {1}, seed.dtype}, 1);
  }

  // In guarded placement: what died at this time becomes NaN, and no step has written outside its buffers.
  void retire(int time) {
    if (placement != Placement::guarded) return;
    for (size_t k = 0; k < plan->buffers().size(); ++k) {
      const Buffer& b = plan->buffers()[k];
      if (!b.lives() || guarded.size() <= k || !guarded[k]) continue;
      auto* p = static_cast<std::byte*>(guarded[k].view().data);
      check(intact(p) && intact(p + kAlign + aligned(b.bytes)), "Program: a step wrote outside a buffer of ", node(b.node).name,
            " at time ", time);
      if (b.last == time) std::memset(p + kAlign, kPoison, b.bytes);
    }
  }
};

Program::Program(const Graph& graph, const std::vector<Value>& outputs, Mode mode, const Target& target,
                 const ParameterBuffers& parameters, std::shared_ptr<Arena> arena, Placement placement)
    : impl_(std::make_unique<Impl>(graph, outputs, mode, target, parameters, std::move(arena), placement)) {}
Program::~Program() = default;

void Program::set(Value input, View data) {
  check(!impl_->node(input.id).op && impl_->value[input.id] >= 0, "Program::set: ", impl_->node(input.id).name,
        " is no input of this program");
  const View to = impl_->view(input.id);
  check(to.shape == data.shape, "Program::set: ", impl_->node(input.id).name, " is ", to.shape, ", got ", data.shape);
  if (data.dtype == to.dtype) {
    std::memcpy(to.data, data.data, to.bytes());
    return;
  }
  Stream stream(impl_->target.device);
  convert(stream, data, to);
}

View Program::view(Value value) const {
  const bool readable = !impl_->node(value.id).op || std::count(impl_->outputs.begin(), impl_->outputs.end(), value.id);
  check(readable, "Program::view: ", impl_->node(value.id).name, " is not among the outputs, so its bytes are reused");
  return impl_->view(value.id);
}

void Program::run(Stream& stream) {
  forward(stream);
  if (impl_->mode == Mode::train) backward(stream);
}

void Program::forward(Stream& stream) {
  impl_->begin(stream);
  for (int i = 0; i < static_cast<int>(impl_->n); ++i) impl_->forward_step(stream, i);
}

void Program::backward(Stream& stream) {
  check(impl_->mode == Mode::train, "Program::backward: this program only infers");
  impl_->start_backward(stream);
  for (int i = static_cast<int>(impl_->n) - 1; i >= 0; --i) impl_->backward_step(stream, i);
}

const std::vector<Range>& Program::trained() const { return impl_->trained; }
size_t Program::arena_bytes() const { return impl_->plan->arena_bytes(); }
size_t Program::packed_bytes() const { return impl_->packed_bytes; }
const Plan& Program::plan() const { return *impl_->plan; }

std::vector<Program::Timing> Program::time(Stream& stream) {
  impl_->begin(stream);
  std::vector<Timing> all(impl_->n);
  for (int i = 0; i < static_cast<int>(impl_->n); ++i) {
    const double start = milliseconds();
    impl_->forward_step(stream, i);
    all[i].forward_ms = milliseconds() - start;
  }
  if (impl_->mode == Mode::train) {
    impl_->start_backward(stream);
    for (int i = static_cast<int>(impl_->n) - 1; i >= 0; --i) {
      const double start = milliseconds();
      impl_->backward_step(stream, i);
      all[i].backward_ms = milliseconds() - start;
    }
  }
  std::vector<Timing> steps;
  for (int i = 0; i < static_cast<int>(impl_->n); ++i) {
    if (!impl_->prepared[i]) continue;
    all[i].name = impl_->node(i).name;
    all[i].op = impl_->node(i).op->name();
    all[i].engine = impl_->prepared[i]->engine();
    steps.push_back(all[i]);
  }
  return steps;
}

}  // namespace metvox
