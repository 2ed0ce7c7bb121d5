// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

#include "autograd/op_case.h"
#include "kernels/collective.h"
#include "layers/named.h"

namespace metvox {
namespace {

std::map<std::string, SegmentationLoss>& registry() {
  static std::map<std::string, SegmentationLoss> losses;
  return losses;
}

// The op: labels last among the inputs, one prepared kernel a level. Between the two phases lie the sums of all levels
// of all ranks in one buffer: each rank brings its own among zeros, so that adding the buffers gathers them.
class PreparedLoss final : public Prepared {
 public:
  PreparedLoss(std::vector<SegmentationLossProblem> levels, const LossFinish& finish, const Target& target)
      : levels_(std::move(levels)), finish_(finish), ranks_(target.ranks) {
    for (const auto& problem : levels_) {
      kernels_.push_back(prepare_kernel(metvox::segmentation_loss(), problem, target, work_));
      scratch_ = std::max(scratch_, kernels_.back()->scratch_bytes());
      own_sums_ += problem.sums_count();
      coefficients_ += problem.coefficients_count();
    }
    if (ranks_) finish_.ranks = ranks_->size(), finish_.rank = ranks_->rank();
    sums_ = finish_.ranks * own_sums_;
  }
  Work work(Pass) const override { return work_; }
  // For each rank the sums of each level, then the coefficients of each level.
  size_t saved_bytes() const override { return sizeof(double) * static_cast<size_t>(sums_ + coefficients_); }
  size_t forward_scratch_bytes() const override { return scratch_; }
  size_t backward_scratch_bytes() const override { return scratch_; }

  void forward(const Step& s) const override {
    auto* sums = static_cast<double*>(s.saved);
    const View of_all{sums, {sums_}, DType::f64, s.y.device};
    if (ranks_) fill_bytes(s.stream, of_all, 0);
    double* level = sums + finish_.rank * own_sums_;
    for (size_t l = 0; l < kernels_.size(); ++l) {
      kernels_[l]->sums(s.stream, s.x[l], labels(s), level, s.scratch);
      level += levels_[l].sums_count();
    }
    if (ranks_) ranks_->all_reduce(s.stream, of_all);
    finish_loss(s.stream, finish_, sums, sums + sums_, s.y);
  }

  void backward(const Step& s) const override {
    const double* level = static_cast<double*>(s.saved) + sums_;
    for (size_t l = 0; l < kernels_.size(); ++l) {
      kernels_[l]->gradient(s.stream, s.x[l], labels(s), level, s.dy, s.dx[l], s.grad[l], s.scratch);
      level += levels_[l].coefficients_count();
    }
  }

 private:
  const View& labels(const Step& s) const { return s.x[kernels_.size()]; }

  std::vector<SegmentationLossProblem> levels_;
  LossFinish finish_;
  Work work_;
  Communicator* ranks_;
  size_t scratch_ = 0;
  int64_t own_sums_ = 0, sums_ = 0, coefficients_ = 0;
  std::vector<std::unique_ptr<SegmentationLossKernel>> kernels_;
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
    check(levels_.weights.size() <= LossFinish::kMaxLevels, "segmentation_loss: more than ", LossFinish::kMaxLevels,
          " levels");
    check(labels.rank() == 4 && x.back().kind == Kind::labels, "segmentation_loss: labels are (N, D, H, W), got ",
          labels);
    for (size_t l = 0; l + 1 < x.size(); ++l)
      check(x[l].shape.rank() == 5 && x[l].shape[0] == labels[0] && x[l].shape[1] == heads_.count,
            "segmentation_loss: output ", l, " is ", x[l].shape, ", expected ", labels[0], " samples and ",
            heads_.count, " heads");
    return {{3 + 3 * heads_.count}, Kind::result};
  }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    const Shape& labels = setting.x.back().shape;
    std::vector<SegmentationLossProblem> levels;
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
      p.device = setting.target.device;
      levels.push_back(p);
    }
    return std::make_unique<PreparedLoss>(std::move(levels), finish(labels[0]), setting.target);
  }

 private:
  LossFinish finish(int64_t samples) const {
    LossFinish f;
    f.levels = static_cast<int>(levels_.weights.size());
    f.heads = heads_.count;
    f.n = samples;
    std::copy(levels_.weights.begin(), levels_.weights.end(), f.weights.begin());
    f.overlap = loss_.overlap;
    f.over_batch = batch_dice_ && loss_.over_batch;
    f.first_head = loss_.overlap_of_first_head ? 0 : 1;
    // With an ignore label nnU-Net divides the BCE of all regions by the voxels that count, not by voxels and regions.
    f.voxel_term_per_voxel = !loss_.softmax && ignore_label_ >= 0;
    return f;
  }
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
