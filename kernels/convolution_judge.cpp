// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution_judge.h"

#include "kernels/conv3d_voxels.h"
#include "tensor/random.h"

namespace metvox {
namespace {

float rounded(double v, DType t) {
  const float f = static_cast<float>(v);
  return t == DType::bf16 ? static_cast<float>(bf16(f)) : t == DType::f16 ? static_cast<float>(f16(f)) : f;
}

template <class T>
Tensor in_type(const std::vector<float>& values, int64_t count) {
  Tensor t = Tensor::empty({count}, dtype_of<T>());
  for (int64_t i = 0; i < count; ++i) t.data<T>()[i] = static_cast<T>(values[i]);
  return t;
}

}  // namespace

Noise::Noise(uint64_t seed, DType rounded_to) : values_(kPeriod) {
  Random random(seed, 0);
  for (float& v : values_) v = rounded(random.uniform(-1.0, 1.0), rounded_to);
}

Tensor Noise::tensor(Stream& stream, const Shape& shape, DType t) const {
  const Tensor all = Tensor::empty({shape.size()}, t, stream.device(), "noise");
  const int64_t size = shape.size(), period = std::min<int64_t>(size, kPeriod);
  const Tensor first = t == DType::bf16  ? in_type<bf16>(values_, period)
                       : t == DType::f16 ? in_type<f16>(values_, period)
                                         : in_type<float>(values_, period);
  transfer(stream, first.view(), all.slice(0, period).view());
  for (int64_t done = period; done < size;) {
    const int64_t more = std::min(done, size - done);
    transfer(stream, all.slice(0, more).view(), all.slice(done, more).view());
    done += more;
  }
  return all.reshape(shape);
}

double column_sum(const Noise& noise, int64_t rows, int64_t columns, int64_t column) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += noise[r * columns + column];
  return sum;
}

ConvolutionJudge::ConvolutionJudge(const Conv3dProblem& p)
    : p_(p), out_(p.out()), x_(1, p.dtype), x2_(2, p.dtype), w_(3, p.dtype), b_(4, p.dtype), y_(5, p.dtype) {}

double ConvolutionJudge::input(int64_t voxel, int64_t c) const {
  return c < p_.c ? x_[voxel * p_.c + c] : x2_[voxel * p_.c2 + c - p_.c];
}
double ConvolutionJudge::weight(int64_t k, int64_t c, int64_t tap) const {
  return w_[(k * (p_.c + p_.c2) + c) * volume(p_.kernel) + tap];
}

double ConvolutionJudge::forward(int64_t voxel, int64_t k) const {
  const int64_t image = voxel / volume(out_);
  const Int3 o = position(voxel % volume(out_), out_);
  double sum = 0;
  for (int64_t t = 0; t < volume(p_.kernel); ++t) {
    const int64_t i = input_voxel(p_, o, position(t, p_.kernel));
    if (i < 0) continue;
    for (int64_t c = 0; c < p_.c + p_.c2; ++c) sum += input(image * volume(p_.in) + i, c) * weight(k, c, t);
  }
  return sum;
}

double ConvolutionJudge::backward_data(int64_t voxel, int64_t c) const {
  const int64_t image = voxel / volume(p_.in);
  const Int3 i = position(voxel % volume(p_.in), p_.in);
  double sum = 0;
  for (int64_t t = 0; t < volume(p_.kernel); ++t) {
    const int64_t o = output_voxel(p_, out_, i, position(t, p_.kernel));
    if (o < 0) continue;
    for (int64_t k = 0; k < p_.k; ++k) sum += y_[(image * volume(out_) + o) * p_.k + k] * weight(k, c, t);
  }
  return sum;
}

double ConvolutionJudge::backward_weights(int64_t index_in_w) const {
  const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2;
  const int64_t k = index_in_w / (channels * taps), c = index_in_w / taps % channels;
  const Int3 t = position(index_in_w % taps, p_.kernel);
  double sum = 0;
  for (int64_t v = 0; v < p_.n * volume(out_); ++v) {
    const int64_t i = input_voxel(p_, position(v % volume(out_), out_), t);
    if (i >= 0) sum += y_[v * p_.k + k] * input(v / volume(out_) * volume(p_.in) + i, c);
  }
  return sum;
}

}  // namespace metvox
