// SPDX-License-Identifier: Apache-2.0
// Grade S: tissues from a map of FreeSurfer codes.
#include <algorithm>

#include "io/nifti.h"
#include "segmentation/phantom/anatomy.h"
#include "segmentation/phantom/noise.h"
#include "tensor/threads.h"

namespace metvox::phantom {
namespace {

Tissue tissue_of_code(int code) {
  switch (code) {
    case 2:
    case 41:
    case 7:
    case 46:
    case 25:
    case 57:
    case 77:
    case 85:
    case 251:
    case 252:
    case 253:
    case 254:
    case 255: return Tissue::white;
    case 3:
    case 42:
    case 17:
    case 53:
    case 18:
    case 54: return Tissue::grey;
    case 8:
    case 47: return Tissue::cerebellar_grey;
    case 10:
    case 11:
    case 12:
    case 13:
    case 26:
    case 28:
    case 49:
    case 50:
    case 51:
    case 52:
    case 58:
    case 60: return Tissue::deep_grey;
    case 16: return Tissue::brain_stem;
    case 4:
    case 5:
    case 14:
    case 15:
    case 43:
    case 44:
    case 72: return Tissue::csf;
    case 24: return Tissue::sulcus;
    case 30:
    case 62: return Tissue::vessel;
    case 31:
    case 63:
    case 136:
    case 137:
    case 163:
    case 164: return Tissue::choroid_plexus;
    default: break;
  }
  if (code >= 1000 && code < 3000) return Tissue::grey;  // cortical parcels
  return Tissue::background;
}

// The map on the world's axes: where the brain lies, and codes at any point.
class LabelMap {
 public:
  explicit LabelMap(const Path& path) : volume_(read_nifti(path)), to_index_(volume_.geometry.affine.inverse()) {
    const auto& size = volume_.geometry.shape;
    const float* code = volume_.voxels.data<float>();
    std::array<double, 3> low{1e9, 1e9, 1e9}, high{-1e9, -1e9, -1e9};
    for (int64_t k = 0, v = 0; k < size[2]; ++k)
      for (int64_t j = 0; j < size[1]; ++j)
        for (int64_t i = 0; i < size[0]; ++i, ++v) {
          const Tissue t = tissue_of_code(static_cast<int>(std::lround(std::clamp(code[v], -1.0f, 1e6f))));
          if (t == Tissue::background || t == Tissue::sulcus) continue;
          const auto at =
              volume_.geometry.affine({static_cast<double>(i), static_cast<double>(j), static_cast<double>(k)});
          for (int a = 0; a < 3; ++a) low[a] = std::min(low[a], at[a]), high[a] = std::max(high[a], at[a]);
        }
    if (low[0] > high[0])
      fail(Fault::input, path.string(),
           ": no voxel has the FreeSurfer code of a brain tissue (2, 3, 41, 42, ...), so no head "
           "can be made of it; give a map such as FreeSurfer's aseg or a SynthSeg training map");
    constexpr double kMargin_mm = 8;
    for (int a = 0; a < 3; ++a) {
      centre_[a] = 0.5 * (low[a] + high[a]);
      enlarge_ = std::max(enlarge_, (high[a] - low[a] + kMargin_mm) / kFieldOfView_mm[a]);
    }
  }

  Tissue at(Point p) const {
    const auto index =
        to_index_({centre_[0] + enlarge_ * p.x, centre_[1] + enlarge_ * p.y, centre_[2] + enlarge_ * p.z});
    const auto& size = volume_.geometry.shape;
    std::array<int64_t, 3> v;
    for (int a = 0; a < 3; ++a) {
      v[a] = std::lround(index[a]);
      if (v[a] < 0 || v[a] >= size[a]) return Tissue::background;
    }
    const float code = volume_.voxels.data<float>()[(v[2] * size[1] + v[1]) * size[0] + v[0]];
    return tissue_of_code(static_cast<int>(std::lround(std::clamp(code, -1.0f, 1e6f))));
  }

 private:
  Volume volume_;
  Affine to_index_;
  std::array<double, 3> centre_{};
  double enlarge_ = 1;  // mm of the map for a mm of the field of view
};

}  // namespace

TissueMap label_map_anatomy(const Grid& grid, const Path& path) {
  const LabelMap map(path);
  TissueMap tissue(static_cast<size_t>(grid.count()));
  std::vector<float> brain(tissue.size());
  parallel_for(grid.size[2], 1, [&](int64_t first, int64_t last) {
    for (int64_t v = first * grid.size[0] * grid.size[1]; v < last * grid.size[0] * grid.size[1]; ++v) {
      const Tissue t = tissue[static_cast<size_t>(v)] = map.at(grid.point(v));
      brain[static_cast<size_t>(v)] = t == Tissue::background || t == Tissue::sulcus ? 0.0f : 1.0f;
    }
  });
  // Maps carry CSF out to the skull, or none at all: keep it near the brain, and fill gaps that lie within.
  constexpr double kSmooth_mm = 5;
  constexpr float kCsfInside = 0.25f, kGapInside = 0.38f;
  blur(brain, grid.size,
       {kSmooth_mm / grid.spacing_mm[0], kSmooth_mm / grid.spacing_mm[1], kSmooth_mm / grid.spacing_mm[2]});
  for (size_t v = 0; v < tissue.size(); ++v)
    if (tissue[v] == Tissue::background || tissue[v] == Tissue::sulcus)
      tissue[v] =
          brain[v] > (tissue[v] == Tissue::sulcus ? kCsfInside : kGapInside) ? Tissue::sulcus : Tissue::background;
  return tissue;
}

}  // namespace metvox::phantom
