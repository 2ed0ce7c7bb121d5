// SPDX-License-Identifier: Apache-2.0
// What the reference engines of both convolutions share: which types they take, how they are made, the gradient of a
// bias.
#pragma once
#include "kernels/convert.h"

namespace metvox::reference {

// db_k = sum of dy over `rows` voxels, in double.
template <class T>
void sum_bias(const T* dy, int64_t rows, int64_t k_count, Master<T>* db, Grad grad) {
  for (int64_t k = 0; k < k_count; ++k) {
    double sum = 0;
    for (int64_t v = 0; v < rows; ++v) sum += to_double(dy[v * k_count + k]);
    put(db[k], sum, grad);
  }
}

template <class Problem, class Interface, class Kernel>
Engine<Problem, Interface> convolution_engine() {
  return {"reference", Device::Kind::cpu,
          [](const Problem& p) -> std::optional<std::string> {
            if (p.dtype == DType::f64 || p.dtype == DType::f32 || p.dtype == DType::bf16) return std::nullopt;
            return sentence("no ", name_of(p.dtype), " on a CPU");
          },
          [](const Problem& p) -> std::unique_ptr<Interface> {
            p.validate();
            return std::make_unique<Kernel>(p);
          }};
}

}  // namespace metvox::reference
