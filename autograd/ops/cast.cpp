// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/cast.h"

#include "kernels/pointwise.h"

namespace metvox {
namespace {

class PreparedCast final : public Prepared {
 public:
  explicit PreparedCast(size_t master_bytes) : master_bytes_(master_bytes) {}
  size_t backward_scratch_bytes() const override { return master_bytes_; }
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { convert(s.stream, s.x[0], s.y); }
  void backward(const Step& s) const override {
    const View wide{s.scratch, s.dx[0].shape, s.dx[0].dtype, s.dx[0].device};
    convert(s.stream, s.dy, wide);
    copy(s.stream, wide, s.dx[0], s.grad[0]);
  }

 private:
  size_t master_bytes_;
};

class Cast final : public Op {
 public:
  std::string_view name() const override { return "cast"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x[0].kind == Kind::parameter, "cast: takes a parameter");
    return {x[0].shape, Kind::activation};
  }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    return std::make_unique<PreparedCast>(setting.x[0].bytes());
  }
};

}  // namespace

Value cast(Value parameter) { return parameter.graph->add(std::make_shared<Cast>(), {parameter}); }

}  // namespace metvox
