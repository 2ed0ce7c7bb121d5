// SPDX-License-Identifier: Apache-2.0
// The oracle: one element after another, in double whatever the type in memory.
#include "kernels/convert.h"
#include "kernels/launch.h"
#include "kernels/upsample_engines.h"

namespace metvox::reference {
namespace {

template <class T>
class ReferenceUpsample final : public Upsample {
 public:
  explicit ReferenceUpsample(const UpsampleProblem& problem) : p_(problem) {}

  void forward(Stream& stream, View x, View y, void*) const override {
    p_.check_views(x, y);
    gather<upsample_inputs>(stream, x, p_.in, y, p_.out(), Grad::overwrite);
  }
  void backward(Stream& stream, View dy, View dx, Grad grad, void*) const override {
    p_.check_views(dx, dy);
    if (grad != Grad::ignore) gather<upsample_outputs>(stream, dy, p_.out(), dx, p_.in, grad);
  }

 private:
  // Each element of `to` from the voxels of `from` that taps(voxel, input's extent) names.
  template <auto taps>
  void gather(Stream& stream, View from, const Int3& from_extent, View to, const Int3& extent, Grad grad) const {
    const T* source = from.as<T>();
    T* target = to.as<T>();
    const Int3 in = p_.in;
    const int64_t c = p_.c;
    for_each(stream, to.size(), [=](int64_t i) {
      const int64_t voxel = i / c, x = voxel % extent[2], y = voxel / extent[2] % extent[1];
      const int64_t z = voxel / (extent[2] * extent[1]) % extent[0], n = voxel / volume(extent);
      const UpsampleTaps at[3] = {taps(z, in[0]), taps(y, in[1]), taps(x, in[2])};
      double sum = 0;
      for (int a = 0; a < at[0].count; ++a)
        for (int b = 0; b < at[1].count; ++b)
          for (int k = 0; k < at[2].count; ++k) {
            const int64_t row = (n * from_extent[0] + at[0].first + a) * from_extent[1] + at[1].first + b;
            sum += at[0].weight[a] * at[1].weight[b] * at[2].weight[k] *
                   to_double(source[(row * from_extent[2] + at[2].first + k) * c + i % c]);
          }
      put(target[i], sum, grad);
    });
  }

  const UpsampleProblem p_;
};

}  // namespace

Engine<UpsampleProblem, Upsample> upsample() {
  return {"reference", Device::Kind::cpu, never<UpsampleProblem>, [](const UpsampleProblem& problem) {
            problem.validate();
            return dispatch_float(problem.dtype, [&]<class T>() -> std::unique_ptr<Upsample> {
              return std::make_unique<ReferenceUpsample<T>>(problem);
            });
          }};
}

}  // namespace metvox::reference
