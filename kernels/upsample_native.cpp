// SPDX-License-Identifier: Apache-2.0
// Each thread makes rows along W, one after another, with room of its own for their sums.
#include "kernels/upsample_native.h"

#include "kernels/cpu/bits.h"
#include "kernels/upsample_engines.h"
#include "tensor/threads.h"

namespace metvox::native {
namespace {

template <class T>
class NativeUpsample final : public Upsample {
  using B = Bits<T>;

 public:
  explicit NativeUpsample(const UpsampleProblem& problem)
      : p_(problem), pieces_(threads()), row_(problem.in[2] * problem.c) {}

  size_t scratch_bytes() const override { return static_cast<size_t>(pieces_ * piece_floats()) * sizeof(float); }

  void forward(Stream&, View x, View y, void* scratch) const override {
    p_.check_views(x, y);
    each_row(p_.out(), scratch, [&](const Int3& at, int64_t row, float* sums) {
      const auto rows = rows_of<upsample_inputs>(x, at, p_.in);
      METVOX_ISA_CALL(upsample_row<B>)(rows, p_.in[2], p_.c, sums, bits<T>(y) + row * 2 * row_);
    });
  }
  void backward(Stream&, View dy, View dx, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_views(dx, dy);
    each_row(p_.in, scratch, [&](const Int3& at, int64_t row, float* sums) {
      const auto rows = rows_of<upsample_outputs>(dy, at, p_.out());
      METVOX_ISA_CALL(upsample_row_back<B>)
      (rows, p_.in[2], p_.c, grad == Grad::accumulate, sums, sums + 2 * row_ + kRowSlack, bits<T>(dx) + row * row_);
    });
  }

 private:
  int64_t piece_floats() const { return 3 * row_ + 2 * kRowSlack; }

  // f((sample, z, y), number of the row, scratch) for each row of an image of that extent.
  template <class F>
  void each_row(const Int3& extent, void* scratch, F f) const {
    const int64_t count = p_.n * extent[0] * extent[1];
    parallel_for(pieces_, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        for (int64_t row = count * i / pieces_; row < count * (i + 1) / pieces_; ++row)
          f({row / extent[1] / extent[0], row / extent[1] % extent[0], row % extent[1]}, row,
            static_cast<float*>(scratch) + i * piece_floats());
    });
  }

  // Of an image of extent `from`, the rows that the row at (sample, z, y) is made of.
  template <auto taps>
  WeightedRows<B> rows_of(const View& image, const Int3& at, const Int3& from) const {
    const UpsampleTaps z = taps(at[1], p_.in[0]), y = taps(at[2], p_.in[1]);
    WeightedRows<B> rows;
    for (int a = 0; a < z.count; ++a)
      for (int b = 0; b < y.count; ++b, ++rows.count) {
        const int64_t row = (at[0] * from[0] + z.first + a) * from[1] + y.first + b;
        rows.row[rows.count] = bits<T>(image) + row * from[2] * p_.c;
        rows.weight[rows.count] = static_cast<float>(z.weight[a] * y.weight[b]);
      }
    return rows;
  }

  const UpsampleProblem p_;
  const int64_t pieces_, row_;
};

}  // namespace

Engine<UpsampleProblem, Upsample> upsample() {
  return {"native", Device::Kind::cpu,
          [](const UpsampleProblem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "sums run in float";
            return std::nullopt;
          },
          [](const UpsampleProblem& problem) -> std::unique_ptr<Upsample> {
            problem.validate();
            if (problem.dtype == DType::bf16) return std::make_unique<NativeUpsample<bf16>>(problem);
            return std::make_unique<NativeUpsample<float>>(problem);
          }};
}

}  // namespace metvox::native
