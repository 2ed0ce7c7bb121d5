// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/phantom.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "io/nifti.h"
#include "segmentation/phantom/lesions.h"
#include "segmentation/phantom/render.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

using namespace phantom;

PhantomOptions small(uint64_t seed = 1) {
  PhantomOptions options;
  options.seed = seed;
  options.size = {48, 56, 48};
  return options;
}

template <class T>
std::vector<T> values(const Tensor& t) {
  return std::vector<T>(t.data<T>(), t.data<T>() + t.size());
}

void expect_same_voxels(const PhantomCase& a, const PhantomCase& b) {
  for (size_t s = 0; s < 4; ++s) EXPECT_EQ(values<int16_t>(a.sequences[s]), values<int16_t>(b.sequences[s]));
  EXPECT_EQ(values<uint8_t>(a.labels), values<uint8_t>(b.labels));
}

double voxel_mm3(const PhantomCase& c) {
  return c.geometry.spacing_mm[0] * c.geometry.spacing_mm[1] * c.geometry.spacing_mm[2];
}

Grid grid_of(const std::array<int64_t, 3>& size) {
  Grid grid;
  grid.size = size;
  for (int a = 0; a < 3; ++a) grid.spacing_mm[a] = kFieldOfView_mm[a] / static_cast<double>(size[a]);
  return grid;
}

TEST(phantom, same_voxels_at_any_thread_count) {
  const int before = threads();
  for (const char* domain : {"public", "private"}) {
    PhantomOptions options = small();
    options.domain = domain;
    set_threads(1);
    const PhantomCase one = make_phantom(options, 3);
    for (int n : {2, 3}) {
      set_threads(n);
      expect_same_voxels(one, make_phantom(options, 3));
    }
  }
  set_threads(before);
}

TEST(phantom, seeds_and_cases_differ) {
  const auto labels = [](uint64_t seed, int64_t index) {
    return values<uint8_t>(make_phantom(small(seed), index).labels);
  };
  EXPECT_NE(labels(1, 0), labels(1, 1));
  EXPECT_NE(labels(1, 0), labels(2, 0));
}

TEST(phantom, shapes_axes_and_spacing) {
  PhantomOptions options = small();
  const PhantomCase a = make_phantom(options, 0);
  EXPECT_EQ(a.id, "phantom_0001");
  EXPECT_EQ(a.geometry.axes(), "LPS");
  EXPECT_EQ(a.geometry.shape, (std::array<int64_t, 3>{48, 56, 48}));
  EXPECT_EQ(a.labels.shape(), Shape({48, 56, 48}));
  EXPECT_EQ(a.geometry.spacing_mm[2], 3.125);
  EXPECT_GT(a.geometry.qform_code, 0);
  EXPECT_GT(a.geometry.sform_code, 0);
  options.domain = "private";
  EXPECT_EQ(make_phantom(options, 0).geometry.axes(), "RAS");
}

// Public scans are LPS and private ones RAS: the same head lies the other way round in x and y.
TEST(phantom, domains_scan_the_same_head) {
  PhantomOptions options = small(5);
  const PhantomCase lps = make_phantom(options, 0);
  options.domain = "private";
  const PhantomCase ras = make_phantom(options, 0);
  const int64_t nx = 48, ny = 56, nz = 48;
  int64_t different = 0;
  for (int64_t k = 0; k < nz; ++k)
    for (int64_t j = 0; j < ny; ++j)
      for (int64_t i = 0; i < nx; ++i)
        different += lps.labels.data<uint8_t>()[(k * ny + j) * nx + i] !=
                     ras.labels.data<uint8_t>()[(k * ny + ny - 1 - j) * nx + nx - 1 - i];
  EXPECT_EQ(different, 0);
  ASSERT_EQ(lps.lesions.size(), ras.lesions.size());
  for (size_t n = 0; n < lps.lesions.size(); ++n)
    for (size_t axis = 0; axis < 3; ++axis)
      EXPECT_NEAR(lps.lesions[n].centre_mm[axis], ras.lesions[n].centre_mm[axis], 1e-9);
}

// Every label voxel is counted once, in the volume of one lesion; no lesion's core is below a voxel.
TEST(phantom, lesion_table_is_true) {
  for (int64_t index = 0; index < 12; ++index) {
    const PhantomCase c = make_phantom(small(9), index);
    std::array<int64_t, 4> voxels{};
    for (uint8_t label : values<uint8_t>(c.labels)) {
      ASSERT_LE(label, 3);
      ++voxels[label];
    }
    std::array<double, 4> sum{};
    for (size_t n = 0; n < c.lesions.size(); ++n) {
      const PhantomLesion& l = c.lesions[n];
      EXPECT_EQ(l.id, static_cast<int>(n) + 1);
      const double core = l.volume_mm3[1] + l.volume_mm3[3];
      EXPECT_GE(core, 0.999 * voxel_mm3(c));
      EXPECT_NEAR(l.volume_mm3[0], core + l.volume_mm3[2], 1e-9 * l.volume_mm3[0]);
      EXPECT_NEAR(4.0 / 3.0 * M_PI * std::pow(l.radius_mm, 3), core, 1e-9 * core);
      for (size_t k = 1; k < 4; ++k) sum[k] += l.volume_mm3[k];
    }
    for (size_t k = 1; k < 4; ++k)
      EXPECT_NEAR(sum[k], static_cast<double>(voxels[k]) * voxel_mm3(c), 1e-9 * (1 + sum[k])) << "label " << k;
  }
}

TEST(phantom, owners_agree_with_centres) {
  const Grid grid = grid_of({76, 92, 75});
  const Streams streams{4, 1};
  const TissueMap tissue = analytic_anatomy(grid, streams);
  const LesionMap map = grow_lesions(tissue, grid, streams);
  ASSERT_FALSE(map.lesions.empty());
  std::vector<Point> sum(map.lesions.size() + 1);
  std::vector<double> count(map.lesions.size() + 1);
  for (size_t v = 0; v < tissue.size(); ++v) {
    ASSERT_EQ(map.labels[v] == 0, map.owner[v] == 0);
    ASSERT_LE(map.owner[v], map.lesions.size());
    if (map.labels[v] == 1 || map.labels[v] == 3) {
      sum[map.owner[v]] = sum[map.owner[v]] + grid.point(static_cast<int64_t>(v));
      ++count[map.owner[v]];
    }
    // Oedema keeps out of CSF, cores out of ventricles and fissures.
    ASSERT_FALSE(map.labels[v] != 0 && (tissue[v] == Tissue::csf || tissue[v] == Tissue::background));
    ASSERT_FALSE(map.labels[v] == 2 && tissue[v] == Tissue::sulcus);
  }
  for (const PhantomLesion& l : map.lesions) {
    const size_t id = static_cast<size_t>(l.id);
    EXPECT_NEAR(l.centre_mm[0], sum[id].x / count[id], 1e-9);
    EXPECT_NEAR(l.centre_mm[2], sum[id].z / count[id], 1e-9);
  }
}

TEST(phantom, counts_and_radii_follow_the_published_ones) {
  Random random(11, 0);
  constexpr int kDraws = 20000;
  std::vector<int64_t> counts(kDraws);
  for (int64_t& n : counts) n = draw_lesion_count(random);
  const double mean = std::accumulate(counts.begin(), counts.end(), 0.0) / kDraws;
  EXPECT_NEAR(mean, 7.7, 0.3);  // its standard deviation is 10: three standard errors are 0.21
  std::sort(counts.begin(), counts.end());
  EXPECT_GE(counts.front(), 1);
  EXPECT_EQ(counts[kDraws / 2], 4);
  EXPECT_GT(counts[kDraws * 99 / 100], 40);
  double tiny = 0;
  for (int n = 0; n < kDraws; ++n) {
    const double r = draw_lesion_radius_mm(random, false), first = draw_lesion_radius_mm(random, true);
    ASSERT_TRUE(r >= 1 && r <= 18 && first >= 6 && first <= 18);
    tiny += r < 4;
  }
  EXPECT_NEAR(tiny / kDraws, 0.74, 0.03);
}

TEST(phantom, a_coarser_grid_shows_the_same_head) {
  const auto brain_ml = [](const std::array<int64_t, 3>& size) {
    const Grid grid = grid_of(size);
    const TissueMap tissue = analytic_anatomy(grid, Streams{3, 0});
    std::map<Tissue, double> ml;
    for (Tissue t : tissue) ml[t] += grid.voxel_mm3() / 1000;
    return ml;
  };
  auto coarse = brain_ml({48, 56, 48}), fine = brain_ml({96, 112, 96});
  double all_coarse = 0, all_fine = 0;
  for (int t = 1; t < kTissues; ++t) {
    all_coarse += coarse[static_cast<Tissue>(t)];
    all_fine += fine[static_cast<Tissue>(t)];
  }
  EXPECT_NEAR(all_coarse / all_fine, 1, 0.01);
  EXPECT_NEAR(coarse[Tissue::white] / fine[Tissue::white], 1, 0.05);
  EXPECT_NEAR(coarse[Tissue::grey] / fine[Tissue::grey], 1, 0.05);
  // An adult's head, roughly.
  EXPECT_GT(all_fine, 1000);
  EXPECT_LT(all_fine, 1700);
  EXPECT_GT(fine[Tissue::grey], 0.6 * fine[Tissue::white]);
}

// Means of each label and tissue relative to white matter, over many heads, in the ranges measured on real scans.
TEST(phantom, contrast_follows_the_table) {
  struct Range {
    const char* name;
    double low[4], high[4];
  };
  // Widened by a tenth: partial volume of 2 mm voxels (regions below 100 of them are nothing else) and the jitter of
  // heads.
  const std::vector<Range> ranges{{"NETC", {.90, .70, 1.3, 2.3}, {1.06, .92, 4.2, 3.8}},
                                  {"SNFH", {.84, .85, 2.0, 2.0}, {.91, .88, 2.6, 2.1}},
                                  {"ET", {1.54, .83, 2.0, 2.0}, {1.65, .93, 2.7, 2.3}},
                                  {"grey", {.88, .83, .98, 1.2}, {.93, .88, 1.09, 1.3}}};
  const Grid grid = grid_of({76, 92, 75});
  double sum[5][4] = {}, count[5][4] = {};
  for (int64_t index = 0; index < 8; ++index) {
    const Streams streams{21, index};
    const TissueMap tissue = analytic_anatomy(grid, streams);
    const LesionMap map = grow_lesions(tissue, grid, streams);
    for (int s = 0; s < 4; ++s) {
      const Tensor image = render(tissue, map, grid, scanner_domain("public"), streams, s);
      double head[5] = {}, voxels[5] = {};
      for (size_t v = 0; v < tissue.size(); ++v) {
        const int what = map.labels[v] != 0           ? map.labels[v] - 1
                         : tissue[v] == Tissue::grey  ? 3
                         : tissue[v] == Tissue::white ? 4
                                                      : -1;
        if (what < 0) continue;
        head[what] += image.data<int16_t>()[v];
        ++voxels[what];
      }
      for (int w = 0; w < 4; ++w)
        if (voxels[w] > 100) sum[w][s] += head[w] / voxels[w] / (head[4] / voxels[4]), ++count[w][s];
    }
  }
  for (size_t w = 0; w < 4; ++w)
    for (int s = 0; s < 4; ++s) {
      ASSERT_GE(count[w][s], 3);
      const double mean = sum[w][s] / count[w][s];
      EXPECT_GT(mean, 0.9 * ranges[w].low[s]) << ranges[w].name << " sequence " << s;
      EXPECT_LT(mean, 1.1 * ranges[w].high[s]) << ranges[w].name << " sequence " << s;
    }
}

TEST(phantom, background_is_zero_and_labels_lie_in_the_head) {
  const PhantomCase c = make_phantom(small(), 0);
  for (int64_t v = 0; v < c.labels.size(); ++v) {
    const bool head = c.sequences[0].data<int16_t>()[v] > 0;
    for (const Tensor& t : c.sequences) ASSERT_EQ(t.data<int16_t>()[v] > 0, head);
    ASSERT_TRUE(head || c.labels.data<uint8_t>()[v] == 0);
  }
  EXPECT_EQ(c.sequences[0].data<int16_t>()[0], 0);
}

TEST(phantom, refuses_bad_options) {
  PhantomOptions options = small();
  options.domain = "secret";
  EXPECT_THROW(make_phantom(options, 0), Error);
  options = small();
  options.size[1] = 7;
  EXPECT_THROW(make_phantom(options, 0), Error);
  options.size = {8, 8, 8};
  EXPECT_NO_THROW(make_phantom(options, 0));
}

// A brain of nested ellipsoids with FreeSurfer codes, stored with the axes of `to_world`.
Path write_label_map(const std::string& name, const Affine& to_world, const std::array<int64_t, 3>& size) {
  Tensor codes = Tensor::zeros({size[2], size[1], size[0]}, DType::i16);
  for (int64_t k = 0, v = 0; k < size[2]; ++k)
    for (int64_t j = 0; j < size[1]; ++j)
      for (int64_t i = 0; i < size[0]; ++i, ++v) {
        const auto p = to_world({static_cast<double>(i), static_cast<double>(j), static_cast<double>(k)});
        const double r = std::sqrt(p[0] * p[0] / (60 * 60) + p[1] * p[1] / (75 * 75) + p[2] * p[2] / (55 * 55));
        codes.data<int16_t>()[v] = r < 0.2 ? 4 : r < 0.8 ? 41 : r < 0.92 ? 42 : r < 1 ? 24 : r < 1.2 ? 511 : 0;
      }
  const Path path = Path(testing::TempDir()) / ("phantom_test_" + name + ".nii.gz");
  write_nifti(path, codes, make_geometry(size, to_world));
  return path;
}

// The same world in LIA and in RAS order gives the same head.
TEST(phantom, label_maps_in_any_axis_order) {
  const Affine ras{{{{2.5, 0, 0, -78.75}, {0, 2.5, 0, -91.25}, {0, 0, 2.5, -71.25}, {0, 0, 0, 1}}}};
  const Affine lia{{{{-2.5, 0, 0, 78.75}, {0, 0, 2.5, -91.25}, {0, -2.5, 0, 71.25}, {0, 0, 0, 1}}}};
  PhantomOptions options = small();
  options.label_maps = {write_label_map("ras", ras, {64, 74, 58})};
  const PhantomCase a = make_phantom(options, 0);
  options.label_maps = {write_label_map("lia", lia, {64, 58, 74})};
  const PhantomCase b = make_phantom(options, 0);
  expect_same_voxels(a, b);
  EXPECT_FALSE(a.lesions.empty());
  int64_t head = 0;
  for (int16_t v : values<int16_t>(a.sequences[0])) head += v > 0;
  // Inside the cortex (r < 0.92) everything is head; skin is not.
  const double ml = static_cast<double>(head) * voxel_mm3(a) / 1000, ball = 4.0 / 3.0 * M_PI * 60 * 75 * 55 / 1000;
  EXPECT_GT(ml, 0.75 * ball);
  EXPECT_LT(ml, 1.05 * ball);
}

TEST(phantom, a_map_without_a_brain_is_bad_input) {
  const Path path = Path(testing::TempDir()) / "phantom_test_empty.nii.gz";
  write_nifti(path, Tensor::zeros({20, 20, 20}, DType::u8), make_geometry({20, 20, 20}, Affine{}));
  PhantomOptions options = small();
  options.label_maps = {path};
  try {
    make_phantom(options, 0);
    FAIL() << "an empty map was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    EXPECT_NE(std::string(e.what()).find("phantom_test_empty"), std::string::npos);
  }
}

}  // namespace
}  // namespace metvox
