// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/previous_stage.h"

#include <algorithm>

namespace metvox {

Tensor with_previous_labels(const Tensor& data, const Tensor& seg, int64_t count) {
  const Shape& n = data.shape();
  check(seg.shape() == Shape{n[1], n[2], n[3]}, "with_previous_labels: data ", n, " and labels ", seg.shape());
  Tensor out = Tensor::empty({n[0] + count, n[1], n[2], n[3]}, DType::f32);
  float* to = std::copy_n(data.data<float>(), data.size(), out.data<float>());
  const int8_t* in = seg.data<int8_t>();
  for (int64_t label = 1; label <= count; ++label)
    for (int64_t i = 0; i < seg.size(); ++i) *to++ = in[i] == label ? 1.0f : 0.0f;
  return out;
}

Tensor labels_for_next_stage(const Tensor& labels) {
  const Tensor out = Tensor::empty(labels.shape(), DType::i8);
  std::copy_n(labels.data<uint8_t>(), labels.size(), out.data<int8_t>());
  return out;
}

}  // namespace metvox
