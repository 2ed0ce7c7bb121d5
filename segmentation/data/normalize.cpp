// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/normalize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr double kLeastDeviation = 1e-8;

// Sum of f(value) over the voxels inside, slice by slice, eight running sums a slice.
template <class F>
double sum_inside(const Tensor& channel, const int8_t* seg, F&& f) {
  const int64_t slices = channel.shape()[0], plane = slices ? channel.size() / slices : 0;
  std::vector<double> sums(static_cast<size_t>(slices));
  parallel_for(slices, 1, [&](int64_t first, int64_t last) {
    for (int64_t z = first; z < last; ++z) {
      constexpr int64_t kLanes = 8;
      double lane[kLanes] = {};
      const float* x = channel.data<float>() + z * plane;
      const int8_t* s = seg ? seg + z * plane : nullptr;
      const auto term = [&](int64_t i) { return !s || s[i] >= 0 ? f(static_cast<double>(x[i])) : 0.0; };
      int64_t i = 0;
      for (; i + kLanes <= plane; i += kLanes)
        for (int64_t k = 0; k < kLanes; ++k) lane[k] += term(i + k);
      for (; i < plane; ++i) lane[0] += term(i);
      sums[static_cast<size_t>(z)] = std::accumulate(lane, lane + kLanes, 0.0);
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class F>
void change(Tensor& channel, F&& f) {
  float* x = channel.data<float>();
  parallel_for(channel.size(), 1 << 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) x[i] = f(x[i], i);
  });
}

void z_score(Tensor& channel, const int8_t* seg) {
  const double n = seg ? sum_inside(channel, seg, [](double) { return 1.0; }) : static_cast<double>(channel.size());
  if (n == 0) return;
  const double mean = sum_inside(channel, seg, [](double v) { return v; }) / n;
  const double variance = sum_inside(channel, seg, [mean](double v) { return (v - mean) * (v - mean); }) / n;
  const auto centre = static_cast<float>(mean),
             scale = static_cast<float>(std::max(std::sqrt(variance), kLeastDeviation));
  if (seg) change(channel, [=](float v, int64_t i) { return seg[i] >= 0 ? (v - centre) / scale : v; });
  else change(channel, [=](float v, int64_t) { return (v - centre) / scale; });
}

void ct(Tensor& channel, const IntensityProperties& p) {
  for (double v : {p.mean, p.std, p.percentile_00_5, p.percentile_99_5})
    if (!std::isfinite(v))
      fail(Fault::input, "CTNormalization needs the foreground intensities, which these plans lack; plan again");
  const auto low = static_cast<float>(p.percentile_00_5), high = static_cast<float>(p.percentile_99_5);
  const auto mean = static_cast<float>(p.mean), scale = static_cast<float>(std::max(p.std, kLeastDeviation));
  change(channel, [=](float v, int64_t) { return (std::min(std::max(v, low), high) - mean) / scale; });
}

void rescale(Tensor& channel) {
  const auto [low, high] = std::minmax_element(channel.data<float>(), channel.data<float>() + channel.size());
  const float least = *low, scale = std::max(*high - least, static_cast<float>(kLeastDeviation));
  change(channel, [=](float v, int64_t) { return (v - least) / scale; });
}

void rgb(Tensor& channel) {
  const auto [low, high] = std::minmax_element(channel.data<float>(), channel.data<float>() + channel.size());
  if (*low < 0 || *high > 255)
    fail(Fault::input, "RGBTo01Normalization expects values from 0 to 255, found ", *low, " to ", *high);
  change(channel, [](float v, int64_t) { return v / 255.0f; });
}

struct Scheme {
  std::string_view name;
  void (*apply)(Tensor&, const int8_t* seg, const IntensityProperties&);
};
constexpr Scheme kSchemes[] = {
    {"ZScoreNormalization", [](Tensor& c, const int8_t* seg, const IntensityProperties&) { z_score(c, seg); }},
    {"CTNormalization", [](Tensor& c, const int8_t*, const IntensityProperties& p) { ct(c, p); }},
    {"RescaleTo01Normalization", [](Tensor& c, const int8_t*, const IntensityProperties&) { rescale(c); }},
    {"RGBTo01Normalization", [](Tensor& c, const int8_t*, const IntensityProperties&) { rgb(c); }},
    {"NoNormalization", [](Tensor&, const int8_t*, const IntensityProperties&) {}},
};

}  // namespace

const std::vector<std::string>& normalization_schemes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Scheme& scheme : kSchemes) all.emplace_back(scheme.name);
    return all;
  }();
  return names;
}

void normalize(Tensor& channel, const std::string& scheme, const Tensor& seg, const IntensityProperties& properties) {
  const auto* found =
      std::find_if(std::begin(kSchemes), std::end(kSchemes), [&](const Scheme& s) { return s.name == scheme; });
  check(found != std::end(kSchemes), "normalize: plans with the unknown scheme ", scheme);
  if (channel.size() > 0) found->apply(channel, seg ? seg.data<int8_t>() : nullptr, properties);
}

}  // namespace metvox
