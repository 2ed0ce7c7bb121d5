// SPDX-License-Identifier: Apache-2.0
#include "io/inspect.h"

#include <algorithm>
#include <cmath>

#include "io/nifti.h"

namespace metvox {
namespace {

double value_at(const Volume& v, const std::array<double, 3>& at_mm, const Path& path) {
  const std::array<double, 3> index = v.geometry.affine.inverse()(at_mm);
  std::array<int64_t, 3> voxel{};
  for (size_t a = 0; a < 3; ++a) {
    const double nearest = std::round(index[a]);
    if (!(nearest >= 0 && nearest < static_cast<double>(v.geometry.shape[a])))
      fail(Fault::input, path.string(), ": the point (", at_mm[0], ", ", at_mm[1], ", ", at_mm[2],
           ") mm is outside the image: voxel index (", index[0], ", ", index[1], ", ", index[2], ") of ",
           describe(v.geometry));
    voxel[a] = static_cast<int64_t>(nearest);
  }
  const auto& s = v.geometry.shape;
  return v.voxels.data<double>()[(voxel[2] * s[1] + voxel[1]) * s[0] + voxel[0]];
}

}  // namespace

Json inspect_image(const Path& path, const std::optional<std::array<double, 3>>& at_mm) {
  const Volume v = read_nifti(path, NonFinite::keep, DType::f64);
  double low = INFINITY, high = -INFINITY;
  long double sum = 0;  // of whole numbers exact up to 2^64
  int64_t finite = 0;
  const double* x = v.voxels.data<double>();
  for (int64_t n = 0; n < v.voxels.size(); ++n) {
    if (!std::isfinite(x[n])) continue;
    low = std::min(low, x[n]);
    high = std::max(high, x[n]);
    sum += x[n];
    ++finite;
  }
  const auto number = [&](double value) { return finite > 0 ? Json(value) : Json(nullptr); };
  Json out;
  out["shape"] = v.geometry.shape;
  out["spacing_mm"] = v.geometry.spacing_mm;
  out["axes"] = v.geometry.axes();
  out["dtype"] = v.dtype_on_disk;
  out["affine"] = v.geometry.affine.m;
  out["min"] = number(low);
  out["max"] = number(high);
  out["mean"] = number(static_cast<double>(sum / static_cast<long double>(finite)));
  out["warnings"] = v.warnings;
  if (at_mm) out["value"] = value_at(v, *at_mm, path);
  return out;
}

}  // namespace metvox
