// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution_trials.h"

#include <cmath>

#include "kernels/convolution_judge.h"
#include "kernels/norm_act.h"
#include "tensor/align.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr size_t kRotatedBytes = size_t{128} << 20;  // L2 caches hold 40 to 96 MB
constexpr int kMostCopies = 256;                     // of data so small that a step's own cache would hold it too

double as_double(const std::byte* p, DType t) {
  switch (t) {
    case DType::f32: return *reinterpret_cast<const float*>(p);
    case DType::bf16: return static_cast<float>(*reinterpret_cast<const bf16*>(p));
    case DType::f16: return static_cast<float>(*reinterpret_cast<const f16*>(p));
    default: fail(Fault::internal, "trial of a convolution: results in ", name_of(t));
  }
}

Tensor memory(size_t bytes, Device device) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device); }
void* at(const Tensor& t) { return t.view().data; }

// The data of a trial on one device: images and packed weights in several copies that are used in turn, as a step finds
// neither in the GPU's cache; gradients of parameters in one.
class Data {
 public:
  Data(Device device, size_t bytes_of_copy) : stream_(device) {
    if (device.kind == Device::Kind::cuda)  // elsewhere times decide nothing
      copies_ = static_cast<int>(std::clamp<size_t>(kRotatedBytes / bytes_of_copy + 1, 1, kMostCopies));
  }
  Stream& stream() { return stream_; }

  Tensor image(const Noise& noise, const Shape& s, DType t) { return noise.tensor(stream_, times_copies(s), t); }
  Tensor parameter(const Noise& noise, const Shape& s) { return noise.tensor(stream_, s, DType::f32); }
  // What a pass writes; `value` says what is right at an index, a sum of so many `terms`.
  template <class Value>
  Tensor image_result(const Shape& s, DType t, int64_t terms, Value value) {
    return result(times_copies(s), t, s.size(), terms, value);
  }
  template <class Value>
  Tensor parameter_result(const Shape& s, int64_t terms, Value value) {
    return result(s, DType::f32, s.size(), terms, value);
  }
  // The i-th copy of an image; no view of no tensor.
  View turn(const Tensor& t, int i) const {
    if (!t) return {};
    const int64_t n = t.shape()[0] / copies_;
    return t.slice(i % copies_ * n, n).view();
  }

  // What a kernel packs, a copy for each turn: pack(memory) writes one.
  class Packed {
   public:
    template <class Pack>
    Packed(const Data& data, size_t bytes, const Pack& pack)
        : copies_(data.copies_),
          bytes_(aligned(bytes)),
          memory_(memory(bytes_ * static_cast<size_t>(copies_), data.stream_.device())) {
      for (int i = 0; i < copies_; ++i) pack((*this)[i]);
    }
    void* operator[](int i) const {
      return static_cast<std::byte*>(at(memory_)) + bytes_ * static_cast<size_t>(i % copies_);
    }

   private:
    int copies_;
    size_t bytes_;
    Tensor memory_;
  };

  // run(i, grad): the pass on the i-th copies. The first run is compared, and a second one that adds to it.
  template <class Run>
  Measured measure(bool accumulates, const Run& run, double best_ms) {
    for (const Result& r : results_) fill_bytes(stream_, r.memory.view(), 0xff);
    run(0, Grad::overwrite);
    double e = error(1);
    if (accumulates) {
      run(0, Grad::accumulate);
      e = std::max(e, error(2));
    }
    return {e, time_runs(
                   stream_, [&](int i) { run(i, Grad::overwrite); }, best_ms, copies_)};
  }

 private:
  struct Result {
    Tensor memory;
    std::vector<int64_t> at;  // some of the elements, and what they should be
    std::vector<double> right;
  };

  Shape times_copies(Shape s) const {
    s[0] *= copies_;
    return s;
  }

  template <class Value>
  Tensor result(const Shape& all, DType t, int64_t size, int64_t terms, Value value) {
    const int64_t count = std::min(size, std::clamp<int64_t>(100'000'000 / terms, 32, 512));
    Result r{Tensor::empty(all, t, stream_.device(), "trial"), {0}, std::vector<double>(count)};
    if (count > 1) r.at.push_back(size - 1);
    Random random(6, 0);
    while (static_cast<int64_t>(r.at.size()) < count)
      r.at.push_back(static_cast<int64_t>(random.uniform() * static_cast<double>(size)));
    parallel_for(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) r.right[i] = value(r.at[i]);
    });
    results_.push_back(r);
    return r.memory;
  }

  // By norm ratio where results should be so many `times` what is right; the largest, or NaN.
  double error(double times) {
    double largest = 0;
    for (const Result& r : results_) {
      double wrong = 0, all = 0;
      for (size_t i = 0; i < r.at.size(); ++i) {
        const double right = times * r.right[i], d = element(r.memory.view(), r.at[i]) - right;
        wrong += d * d;
        all += right * right;
      }
      const double e = std::sqrt(wrong / all);
      if (!(e <= largest)) largest = e;
    }
    return largest;
  }

  double element(const View& v, int64_t i) {
    alignas(8) std::byte value[8];
    auto* at = static_cast<std::byte*>(v.data) + static_cast<size_t>(i) * size_of(v.dtype);
    transfer(stream_, {at, {1}, v.dtype, v.device}, {value, {1}, v.dtype, {}});
    return as_double(value, v.dtype);
  }

  Stream stream_;
  int copies_ = 1;
  std::vector<Result> results_;
};

template <class Problem>
std::shared_ptr<Data> data_of(const Problem& p) {
  const auto elements = static_cast<size_t>(p.x_shape().size() + p.y_shape().size() + p.w_shape().size());
  return std::make_shared<Data>(p.device, elements * size_of(p.dtype));
}

// The convolution whose backward data this is: the images change places, w stays as it lies.
Conv3dProblem mirrored(const ConvTranspose3dProblem& p) {
  Conv3dProblem q{p.n, p.k, 0, p.c, p.out(), p.stride, p.stride, {0, 0, 0}};
  q.dtype = p.dtype, q.device = p.device;
  return q;
}

// The norm behind a convolution, given moments in so many chunks, or none.
NormActProblem norm_behind(const Conv3dProblem& p, int64_t chunks) {
  NormActProblem norm{p.n, p.k, p.out()};
  norm.dtype = p.dtype, norm.device = p.device, norm.moment_chunks = chunks;
  return norm;
}
class NormBehind {
 public:
  explicit NormBehind(const NormActProblem& p) : p_(p) {
    kernel_ = norm_act().prepare(p_, {p.device, p.dtype}).kernel;
    z_ = Tensor::empty(p_.x_shape(), p_.dtype, p_.device, "trial");
    affine_ = Tensor::zeros({p_.c}, DType::f32, p_.device, "trial");
    saved_ = Tensor::empty(p_.saved_shape(), DType::f32, p_.device, "trial");
    scratch_ = memory(kernel_->forward_scratch_bytes(), p_.device);
    const Shape moments = moments_shape(p_.n, p_.c, p_.moment_chunks);
    if (p_.moment_chunks) moments_ = Tensor::empty(moments, DType::f32, p_.device, "trial");
  }
  View moments() const { return moments_ ? moments_.view() : View{}; }
  void run(Stream& stream, View y) const {
    const View affine = affine_.view();
    kernel_->forward(stream, y, moments(), affine, affine, z_.view(), saved_.view(), at(scratch_));
  }
  // Of what the last run saw in moments, against what lies in y: of means as shares of the deviation, and of
  // deviations.
  double error(Stream& stream, View y) const {
    NormActProblem alone = p_;
    alone.moment_chunks = 0;
    const NormBehind own(alone);
    own.run(stream, y);
    stream.synchronize();
    const Tensor given = saved_.to({}), right = own.saved_.to({});
    double largest = 0;
    for (int64_t i = 0; i < given.size(); i += 2) {
      const double rstd = right.data<float>()[i + 1];
      for (int k : {0, 1}) {
        const double e = std::abs(given.data<float>()[i + k] - right.data<float>()[i + k]) * (k ? 1 / rstd : rstd);
        if (!(e <= largest)) largest = e;
      }
    }
    return largest;
  }

 private:
  NormActProblem p_;
  std::unique_ptr<NormAct> kernel_;
  Tensor z_, affine_, saved_, scratch_, moments_;
};

}  // namespace

Trial<Conv3dForward> conv3d_forward_trial(const Conv3dProblem& p) {
  const ConvolutionJudge judge(p);
  const auto d = data_of(p);
  const Tensor x = d->image(judge.x(), p.x_shape(), p.dtype), w = d->parameter(judge.w(), p.w_shape());
  const Tensor x2 = p.c2 ? d->image(judge.x2(), p.x2_shape(), p.dtype) : Tensor();
  const Tensor b = p.bias ? d->parameter(judge.b(), {p.k}) : Tensor();
  const Tensor y = d->image_result(p.y_shape(), p.dtype, (p.c + p.c2) * volume(p.kernel), [&](int64_t i) {
    return judge.forward(i / p.k, i % p.k) + (p.bias ? judge.b()[i % p.k] : 0.0);
  });
  return [=](const Conv3dForward& kernel, double best_ms) {
    const Data::Packed packed(*d, kernel.packed_bytes(),
                              [&](void* to) { kernel.pack(d->stream(), w.view(), b.view(), to); });
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const int64_t chunks = kernel.moment_chunks();
    const auto norm = p.moments ? std::make_unique<NormBehind>(norm_behind(p, chunks)) : nullptr;
    const auto run = [&](int i, Grad) {
      const View in = d->turn(x, i), in2 = d->turn(x2, i), out = d->turn(y, i);
      if (chunks) kernel.run_with_moments(d->stream(), in, in2, packed[i], out, norm->moments(), at(scratch));
      else kernel.run(d->stream(), in, in2, packed[i], out, at(scratch));
      if (norm) norm->run(d->stream(), out);
    };
    Measured m = d->measure(false, run, best_ms);
    if (!chunks) return m;
    run(0, Grad::overwrite);
    const double e = norm->error(d->stream(), d->turn(y, 0));
    if (!(e <= m.error)) m.error = e;
    return m;
  };
}

Trial<Conv3dBackwardData> conv3d_backward_data_trial(const Conv3dProblem& p) {
  const ConvolutionJudge judge(p);
  const auto d = data_of(p);
  const Tensor dy = d->image(judge.y(), p.y_shape(), p.dtype), w = d->parameter(judge.w(), p.w_shape());
  const int64_t terms = p.k * volume(p.kernel);
  const Tensor dx =
      d->image_result(p.x_shape(), p.dtype, terms, [&](int64_t i) { return judge.backward_data(i / p.c, i % p.c); });
  const auto second = [&](int64_t i) { return judge.backward_data(i / p.c2, p.c + i % p.c2); };
  const Tensor dx2 = p.c2 ? d->image_result(p.x2_shape(), p.dtype, terms, second) : Tensor();
  return [=](const Conv3dBackwardData& kernel, double best_ms) {
    const Data::Packed packed(*d, kernel.packed_bytes(), [&](void* to) { kernel.pack(d->stream(), w.view(), to); });
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const auto run = [&](int i, Grad grad) {
      kernel.run(d->stream(), d->turn(dy, i), packed[i], d->turn(dx, i), grad, d->turn(dx2, i),
                 p.c2 ? grad : Grad::ignore, at(scratch));
    };
    return d->measure(kernel.accumulates(), run, best_ms);
  };
}

Trial<Conv3dBackwardWeights> conv3d_backward_weights_trial(const Conv3dProblem& p) {
  const ConvolutionJudge judge(p);
  const auto d = data_of(p);
  const Tensor x = d->image(judge.x(), p.x_shape(), p.dtype), dy = d->image(judge.y(), p.y_shape(), p.dtype);
  const Tensor x2 = p.c2 ? d->image(judge.x2(), p.x2_shape(), p.dtype) : Tensor();
  const int64_t rows = p.n * volume(p.out());
  const Tensor dw = d->parameter_result(p.w_shape(), rows, [&](int64_t i) { return judge.backward_weights(i); });
  const auto column = [&](int64_t k) { return column_sum(judge.y(), rows, p.k, k); };
  const Tensor db = p.bias ? d->parameter_result({p.k}, rows, column) : Tensor();
  return [=](const Conv3dBackwardWeights& kernel, double best_ms) {
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const auto run = [&](int i, Grad grad) {
      kernel.run(d->stream(), d->turn(x, i), d->turn(x2, i), d->turn(dy, i), dw.view(), db.view(), grad, at(scratch));
    };
    return d->measure(true, run, best_ms);
  };
}

Trial<ConvTranspose3dForward> conv_transpose3d_forward_trial(const ConvTranspose3dProblem& p) {
  const ConvolutionJudge judge(mirrored(p));
  const auto d = data_of(p);
  const Tensor x = d->image(judge.y(), p.x_shape(), p.dtype), w = d->parameter(judge.w(), p.w_shape());
  const Tensor b = p.bias ? d->parameter(judge.b(), {p.k}) : Tensor();
  const Tensor y = d->image_result(p.y_shape(), p.dtype, p.c, [&](int64_t i) {
    return judge.backward_data(i / p.k, i % p.k) + (p.bias ? judge.b()[i % p.k] : 0.0);
  });
  return [=](const ConvTranspose3dForward& kernel, double best_ms) {
    const Data::Packed packed(*d, kernel.packed_bytes(),
                              [&](void* to) { kernel.pack(d->stream(), w.view(), b.view(), to); });
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const auto run = [&](int i, Grad) {
      kernel.run(d->stream(), d->turn(x, i), packed[i], d->turn(y, i), at(scratch));
    };
    return d->measure(false, run, best_ms);
  };
}

Trial<ConvTranspose3dBackwardData> conv_transpose3d_backward_data_trial(const ConvTranspose3dProblem& p) {
  const ConvolutionJudge judge(mirrored(p));
  const auto d = data_of(p);
  const Tensor dy = d->image(judge.x(), p.y_shape(), p.dtype), w = d->parameter(judge.w(), p.w_shape());
  const Tensor dx = d->image_result(p.x_shape(), p.dtype, p.k * volume(p.stride),
                                    [&](int64_t i) { return judge.forward(i / p.c, i % p.c); });
  return [=](const ConvTranspose3dBackwardData& kernel, double best_ms) {
    const Data::Packed packed(*d, kernel.packed_bytes(), [&](void* to) { kernel.pack(d->stream(), w.view(), to); });
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const auto run = [&](int i, Grad grad) {
      kernel.run(d->stream(), d->turn(dy, i), packed[i], d->turn(dx, i), grad, at(scratch));
    };
    return d->measure(kernel.accumulates(), run, best_ms);
  };
}

Trial<ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights_trial(const ConvTranspose3dProblem& p) {
  const ConvolutionJudge judge(mirrored(p));
  const auto d = data_of(p);
  const Tensor x = d->image(judge.y(), p.x_shape(), p.dtype), dy = d->image(judge.x(), p.y_shape(), p.dtype);
  const int64_t rows = p.n * volume(p.out());
  const Tensor dw =
      d->parameter_result(p.w_shape(), p.n * volume(p.in), [&](int64_t i) { return judge.backward_weights(i); });
  const auto column = [&](int64_t k) { return column_sum(judge.x(), rows, p.k, k); };
  const Tensor db = p.bias ? d->parameter_result({p.k}, rows, column) : Tensor();
  return [=](const ConvTranspose3dBackwardWeights& kernel, double best_ms) {
    const Tensor scratch = memory(kernel.scratch_bytes(), p.device);
    const auto run = [&](int i, Grad grad) {
      kernel.run(d->stream(), d->turn(x, i), d->turn(dy, i), dw.view(), db.view(), grad, at(scratch));
    };
    return d->measure(true, run, best_ms);
  };
}

}  // namespace metvox
