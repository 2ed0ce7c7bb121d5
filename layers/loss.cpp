// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

#include "autograd/op_case.h"
#include "layers/named.h"

namespace metvox {
namespace {

std::map<std::string, SegmentationLoss>& registry() {
  static std::map<std::string, SegmentationLoss> losses;
  return losses;
}

// The op: labels last among the inputs, one prepared kernel a level. Sums of all levels lie in one buffer between the
// two phases, which is what ranks will reduce.
struct Layout {
  std::vector<SegmentationLossProblem> levels;
  std::vector<int64_t> first;  // of each level's sums
  int64_t count = 0;
};

struct Terms {
  double overlap = 0, voxel = 0;
};

class PreparedLoss final : public Prepared {
 public:
  PreparedLoss(Layout layout, const SegmentationLoss& loss, const DeepSupervision& supervision, bool batch,
               const Target& target)
      : layout_(std::move(layout)), loss_(loss), weights_(supervision.weights), batch_(batch && loss.over_batch) {
    for (const auto& problem : layout_.levels) {
      auto choice = metvox::segmentation_loss().prepare(problem, target);
      engine_ = choice.engine;
      scratch_ = std::max(scratch_, choice.kernel->scratch_bytes());
      kernels_.push_back(std::move(choice.kernel));
    }
  }
  std::string_view engine() const override { return engine_; }
  // Sums, then the coefficients of phase two (two a head and sample), then one voxel weight a level.
  size_t saved_bytes() const override { return sizeof(double) * static_cast<size_t>(2 * layout_.count); }
  size_t forward_scratch_bytes() const override { return scratch_; }
  size_t backward_scratch_bytes() const override { return scratch_; }

  void forward(const Step& s) const override {
    auto* sums = static_cast<double*>(s.saved);
    const View labels = s.x[kernels_.size()];
    for (size_t l = 0; l < kernels_.size(); ++l)
      kernels_[l]->sums(s.stream, s.x[l], labels, sums + layout_.first[l], s.scratch);
    finish(sums, sums + layout_.count, s.y);
  }

  void backward(const Step& s) const override {
    const double dy = s.dy.dtype == DType::f64 ? s.dy.as<double>()[0] : static_cast<double>(s.dy.as<float>()[0]);
    const double* coefficients = static_cast<double*>(s.saved) + layout_.count;
    const View labels = s.x[kernels_.size()];
    for (size_t l = 0; l < kernels_.size(); ++l) {
      const auto& p = layout_.levels[l];
      std::vector<double>& scaled = scaled_[l];
      const double* own = coefficients + layout_.first[l];
      for (size_t i = 0; i < scaled.size(); ++i) scaled[i] = dy * own[i];
      kernels_[l]->gradient(s.stream, s.x[l], labels, scaled.data(), dy * own[2 * p.n * p.heads.count], s.dx[l],
                            s.grad[l], s.scratch);
    }
  }
  void reserve() {
    for (const auto& p : layout_.levels) scaled_.emplace_back(static_cast<size_t>(2 * p.n * p.heads.count));
  }

 private:
  // Total, terms and decided voxels from the sums; derivatives for phase two.
  void finish(const double* sums, double* coefficients, View y) const {
    Terms all;
    for (size_t l = 0; l < kernels_.size(); ++l) {
      const Terms t = level(layout_.levels[l], weights_[l], sums + layout_.first[l], coefficients + layout_.first[l]);
      all.overlap += weights_[l] * t.overlap;
      all.voxel += weights_[l] * t.voxel;
    }
    const auto& top = layout_.levels[0];
    const int heads = top.heads.count;
    auto write = [&](int64_t i, double value) {
      if (y.dtype == DType::f64) y.as<double>()[i] = value;
      else y.as<float>()[i] = static_cast<float>(value);
    };
    write(0, all.overlap + all.voxel);
    write(1, all.overlap);
    write(2, all.voxel);
    for (int which = 0; which < 3; ++which)
      for (int r = 0; r < heads; ++r) {
        double count = 0;
        for (int64_t n = 0; n < top.n; ++n)
          count += sums[(n * heads + r) * SegmentationLossProblem::kPerHead + 3 + which];
        write(3 + which * heads + r, count);
      }
  }

  Terms level(const SegmentationLossProblem& p, double weight, const double* sums, double* coefficients) const {
    const int heads = p.heads.count, first = loss_.overlap_of_first_head ? 0 : 1;
    const int64_t groups = batch_ ? 1 : p.n;  // over which overlaps are averaged; a group joins n / groups samples
    const double share = 1.0 / static_cast<double>(groups * (heads - first));
    Terms t;
    std::fill(coefficients, coefficients + 2 * p.n * heads, 0.0);
    for (int64_t g = 0; g < groups; ++g)
      for (int r = first; r < heads; ++r) {
        OverlapSums joined;
        const int64_t begin = batch_ ? 0 : g, end = batch_ ? p.n : g + 1;
        for (int64_t n = begin; n < end; ++n) {
          const double* row = sums + (n * heads + r) * SegmentationLossProblem::kPerHead;
          joined.intersection += row[0];
          joined.prediction += row[1];
          joined.truth += row[2];
        }
        const OverlapTerm term = loss_.overlap(joined);
        t.overlap += share * term.value;
        for (int64_t n = begin; n < end; ++n) {
          coefficients[2 * (n * heads + r)] = weight * share * term.d_intersection;
          coefficients[2 * (n * heads + r) + 1] = weight * share * term.d_prediction;
        }
      }
    const double* voxel = sums + p.n * heads * SegmentationLossProblem::kPerHead;
    // With an ignore label nnU-Net divides the BCE of all regions by the voxels that count, not by voxels and regions.
    const bool by_voxels = !p.softmax && p.ignore_label >= 0;
    const double summands = std::max(by_voxels ? voxel[1] / heads : voxel[1], 1.0);
    t.voxel = voxel[0] / summands;
    coefficients[2 * p.n * heads] = weight / summands;
    return t;
  }

  Layout layout_;
  SegmentationLoss loss_;
  std::vector<double> weights_;
  bool batch_;
  std::string_view engine_;
  size_t scratch_ = 0;
  std::vector<std::unique_ptr<SegmentationLossKernel>> kernels_;
  mutable std::vector<std::vector<double>> scaled_;
};

class LossOp final : public Op {
 public:
  LossOp(const SegmentationLoss& loss, const RegionTable& heads, DeepSupervision levels, bool batch_dice,
         int ignore_label)
      : loss_(loss), heads_(heads), levels_(std::move(levels)), batch_dice_(batch_dice), ignore_label_(ignore_label) {}
  std::string_view name() const override { return "segmentation_loss"; }

  ValueSpec infer(std::span<const ValueSpec> x) const override {
    const Shape& labels = x.back().shape;
    check(x.size() == levels_.weights.size() + 1, "segmentation_loss: ", x.size() - 1, " outputs, ",
          levels_.weights.size(), " weights");
    check(labels.rank() == 4 && x.back().kind == Kind::labels, "segmentation_loss: labels are (N, D, H, W), got ",
          labels);
    for (size_t l = 0; l + 1 < x.size(); ++l)
      check(x[l].shape.rank() == 5 && x[l].shape[0] == labels[0] && x[l].shape[1] == heads_.count,
            "segmentation_loss: output ", l, " is ", x[l].shape, ", expected ", labels[0], " samples and ",
            heads_.count, " heads");
    return {{3 + 3 * heads_.count}, Kind::result};
  }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    Layout layout;
    const Shape& labels = setting.x.back().shape;
    for (size_t l = 0; l + 1 < setting.x.size(); ++l) {
      const Shape& s = setting.x[l].shape;
      SegmentationLossProblem p;
      p.n = s[0];
      p.extent = {s[2], s[3], s[4]};
      p.label_extent = {labels[1], labels[2], labels[3]};
      p.heads = heads_;
      p.softmax = loss_.softmax;
      p.positive_weight = loss_.positive_weight;
      p.ignore_label = ignore_label_;
      p.dtype = setting.target.dtype;
      layout.first.push_back(layout.count);
      layout.count += p.sums_count();
      layout.levels.push_back(p);
    }
    auto prepared = std::make_unique<PreparedLoss>(std::move(layout), loss_, levels_, batch_dice_, setting.target);
    prepared->reserve();
    return prepared;
  }

 private:
  SegmentationLoss loss_;
  RegionTable heads_;
  DeepSupervision levels_;
  bool batch_dice_;
  int ignore_label_;
};

}  // namespace

LossEntry::LossEntry(std::string name, SegmentationLoss loss) { registry().emplace(std::move(name), loss); }
const std::map<std::string, SegmentationLoss>& losses() { return registry(); }

const SegmentationLoss& find_loss(const std::string& name) { return find_named(registry(), "loss", name); }

DeepSupervision DeepSupervision::halving(int outputs) {
  DeepSupervision d;
  double sum = 0;
  for (int i = 0; i < std::max(1, outputs - 1); ++i) d.weights.push_back(1.0 / static_cast<double>(1 << i));
  for (double w : d.weights) sum += w;
  for (double& w : d.weights) w /= sum;
  return d;
}

Value segmentation_loss(const std::vector<Value>& logits, Value labels, const SegmentationLoss& loss,
                        const RegionTable& heads, const DeepSupervision& levels, bool batch_dice, int ignore_label) {
  std::vector<Value> in = logits;
  in.push_back(labels);
  labels.graph->scope("loss");
  return labels.graph->add(std::make_shared<LossOp>(loss, heads, levels, batch_dice, ignore_label), in);
}

}  // namespace metvox
