// SPDX-License-Identifier: Apache-2.0
#include "autograd/op_check.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/weighted_sum.h"
#include "tensor/random.h"

namespace metvox {
namespace {

double eps_of(DType t) {
  switch (t) {
    case DType::f64: return 0x1p-52;
    case DType::f32: return 0x1p-23;
    case DType::f16: return 0x1p-10;
    default: return 0x1p-7;
  }
}

double read(const View& v, int64_t i) {
  switch (v.dtype) {
    case DType::f64: return v.as<double>()[i];
    case DType::f32: return v.as<float>()[i];
    case DType::f16: return static_cast<double>(static_cast<float>(v.as<f16>()[i]));
    default: return static_cast<double>(static_cast<float>(v.as<bf16>()[i]));
  }
}

// A case on one target: its graph, its leaves and their gradients, its program.
class CaseRun {
 public:
  CaseRun(const OpCase& c, const Target& target, Placement placement, uint64_t seed, DType rounding, bool twice = false)
      : builder_(graph_), stream_(target.device) {
    output_ = c.build(builder_);
    if (twice) output_ = metvox::add(output_, c.build(builder_));
    loss_ = graph_.nodes()[output_.id].spec.kind == Kind::activation ? weighted_sum(output_) : output_;
    const DType master = target.dtype == DType::f64 ? DType::f64 : DType::f32;
    const Tensor leaves = Tensor::zeros({builder_.parameter_count()}, master);
    fill_leaves(leaves, seed, rounding);
    values_ = leaves.to(target.device);
    grads_ = Tensor::zeros({builder_.parameter_count()}, master, target.device, "gradients");
    program_ = std::make_unique<Program>(graph_, std::vector<Value>{loss_, output_}, Mode::train, target,
                                         ParameterBuffers{values_.view(), grads_.view(), &version_},
                                         std::make_shared<Arena>(target.device), placement);
    fill_labels(seed);
  }

  void run() { program_->run(stream_); }
  double loss() {
    program_->forward(stream_);
    return read(program_->read(stream_, loss_).view(), 0);
  }
  // On the host.
  Tensor output() { return program_->read(stream_, output_); }
  Tensor grads() const { return grads_.to({}); }
  View values() const { return values_.view(); }
  void changed() { ++version_; }
  Program& program() { return *program_; }
  Stream& stream() { return stream_; }
  // Leaves as (name, first, count).
  std::vector<Node> leaves() const {
    std::vector<Node> out;
    for (const Node& n : graph_.nodes())
      if (n.spec.kind == Kind::parameter) out.push_back(n);
    return out;
  }

 private:
  void fill_leaves(const Tensor& to, uint64_t seed, DType rounding) {
    uint64_t stream = 0;
    for (const Node& leaf : leaves()) {
      Random random(seed, ++stream);
      for (int64_t i = 0; i < leaf.spec.shape.size(); ++i) {
        double x = random.normal();
        x = static_cast<double>(static_cast<float>(x));
        if (rounding == DType::bf16) x = static_cast<double>(static_cast<float>(bf16(static_cast<float>(x))));
        if (rounding == DType::f16) x = static_cast<double>(static_cast<float>(f16(static_cast<float>(x))));
        const int64_t at = leaf.first + i;
        if (to.dtype() == DType::f64) to.data<double>()[at] = x;
        else to.data<float>()[at] = static_cast<float>(x);
      }
    }
  }
  void fill_labels(uint64_t seed) {
    for (const auto& input : builder_.inputs()) {
      Random random(seed, 1000);
      Tensor t = Tensor::empty(input.value.shape(), DType::u8);
      for (int64_t i = 0; i < t.size(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(random.below(input.labels));
      program_->set(stream_, input.value, t.view());
    }
  }

  Graph graph_;
  CaseBuilder builder_;
  Stream stream_;
  Value output_, loss_;
  Tensor values_, grads_;
  uint64_t version_ = 1;
  std::unique_ptr<Program> program_;
};

// Largest |a - b| over what is allowed: `relative` to b's root mean square, for what sums up, and eps of the value
// itself, which may lie far above that, for its last rounding. NaN counts as infinite.
double excess(const View& a, const View& b, int64_t first, int64_t count, double relative, double eps) {
  double square = 0;
  for (int64_t i = first; i < first + count; ++i) square += read(b, i) * read(b, i);
  const double rms = std::sqrt(square / static_cast<double>(count));
  double worst = 0;
  for (int64_t i = first; i < first + count; ++i) {
    const double difference = std::abs(read(a, i) - read(b, i));
    if (std::isnan(difference)) return INFINITY;
    if (difference > 0) worst = std::max(worst, difference / (relative * rms + eps * std::abs(read(b, i))));
  }
  return worst;
}

}  // namespace

CheckResult check_case(const OpCase& c, const Target& target, uint64_t seed) {
  const Target judge_target{{}, DType::f64, "reference"};
  CaseRun judge(c, judge_target, Placement::guarded, seed, target.dtype);
  judge.run();
  CheckResult result;
  std::unique_ptr<CaseRun> tried;
  try {
    tried = std::make_unique<CaseRun>(c, target, Placement::guarded, seed, target.dtype);
  } catch (const Error& error) {
    if (error.fault() != Fault::usage) throw;
    result.declined = error.what();
    return result;
  }
  tried->run();
  for (const auto& step : tried->program().time(tried->stream()))
    if (step.op == c.op) {
      result.forward = step.forward.work;
      result.backward = step.backward.work;
    }
  const double eps = eps_of(target.dtype), unit = 4 * c.slack * (target.tf32 ? 0x1p-10 : eps);
  const Tensor expected = judge.output(), got = tried->output();
  const Tensor expected_grads = judge.grads(), got_grads = tried->grads();
  result.forward_error = excess(got.view(), expected.view(), 0, expected.size(), unit * std::sqrt(c.terms), eps);
  for (const Node& leaf : judge.leaves())
    result.gradient_error =
        std::max(result.gradient_error, excess(got_grads.view(), expected_grads.view(), leaf.first,
                                               leaf.spec.shape.size(), unit * std::sqrt(c.gradient_terms), eps));
  return result;
}

double gradient_error(const OpCase& c, uint64_t seed) {
  CaseRun run(c, {{}, DType::f64, "reference"}, Placement::guarded, seed, DType::f64);
  run.run();
  const View values = run.values();
  const Tensor grads = run.grads();
  const std::vector<double> gradient(grads.data<double>(), grads.data<double>() + grads.size());
  const std::vector<double> start(values.as<double>(), values.as<double>() + values.size());
  double worst = 0;
  uint64_t stream = 0;
  constexpr double kStep = 1e-5;
  for (const Node& leaf : run.leaves()) {
    Random random(seed + 1, ++stream);
    std::vector<double> direction(static_cast<size_t>(leaf.spec.shape.size()));
    double expected = 0, scale = 0;
    for (size_t i = 0; i < direction.size(); ++i) {
      direction[i] = random.normal();
      const double term = direction[i] * gradient[static_cast<size_t>(leaf.first) + i];
      expected += term;
      scale += term * term;
    }
    auto loss_at = [&](double t) {
      for (size_t i = 0; i < direction.size(); ++i)
        values.as<double>()[leaf.first + static_cast<int64_t>(i)] =
            start[static_cast<size_t>(leaf.first) + i] + t * direction[i];
      run.changed();
      return run.loss();
    };
    const double measured = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    std::copy(start.begin(), start.end(), values.as<double>());
    worst = std::max(worst, std::abs(measured - expected) / (std::sqrt(scale) + 1e-8));
  }
  return worst;
}

double accumulation_error(const OpCase& c, const Target& target, uint64_t seed) {
  CaseRun once(c, target, Placement::guarded, seed, target.dtype);
  CaseRun twice(c, target, Placement::guarded, seed, target.dtype, true);
  once.run();
  twice.run();
  const Tensor single_grads = once.grads(), twice_grads = twice.grads();
  double worst = 0;
  for (const Node& leaf : once.leaves()) {
    double square = 0, difference = 0;
    for (int64_t i = leaf.first; i < leaf.first + leaf.spec.shape.size(); ++i) {
      const double single = read(single_grads.view(), i);
      const double d = std::abs(read(twice_grads.view(), i) - 2 * single);
      difference = std::max(difference, std::isnan(d) ? INFINITY : d);
      square += single * single;
    }
    if (difference > 0)
      worst = std::max(worst, difference / std::sqrt(square / static_cast<double>(leaf.spec.shape.size())));
  }
  return worst;
}

CaseTime time_case(const OpCase& c, const Target& target, int runs) {
  CaseRun run(c, target, Placement::arena, 1, target.dtype);
  run.run();
  std::vector<double> forward, backward;
  CaseTime result;
  for (int i = 0; i < runs; ++i)
    for (const auto& step : run.program().time(run.stream())) {
      if (step.op != c.op) continue;
      forward.push_back(step.forward.ms);
      backward.push_back(step.backward.ms);
      result.engine = step.forward.work.engine;
      result.backward_engine = step.backward.work.engine;
    }
  std::sort(forward.begin(), forward.end());
  std::sort(backward.begin(), backward.end());
  result.runs = static_cast<int>(forward.size());
  result.forward_ms_min = forward.front();
  result.forward_ms_median = forward[forward.size() / 2];
  result.backward_ms_min = backward.front();
  result.backward_ms_median = backward[backward.size() / 2];
  result.arena_bytes = run.program().arena_bytes();
  result.packed_bytes = run.program().packed_bytes();
  return result;
}

}  // namespace metvox
