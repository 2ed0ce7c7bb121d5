// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/report.h"

#include <algorithm>
#include <cmath>

#include "fake_model.h"
#include "io/nifti.h"
#include "segmentation/evaluation/case_pictures.h"
#include "segmentation/evaluation/html.h"

namespace metvox {

namespace {

// A head 40 x 48 x 44 mm wide (R, A, S), with a bright spot and an ET lesion far to the patient's left, anterior and
// up.
constexpr std::array<double, 3> kExtent_mm{40, 48, 44};
constexpr std::array<double, 3> kLesion_mm{10.5, 38.5, 33.5};  // small R is the patient's left

// The same head stored along other axes: `axes` such as "LPS", spacing along those file axes.
CaseVolumes head(const std::string& axes, const std::array<double, 3>& spacing_mm) {
  Affine affine;
  std::array<int64_t, 3> n{};
  for (int f = 0; f < 3; ++f) {
    int world = 0;
    while (axes[f] != "RAS"[world] && axes[f] != "LPI"[world]) ++world;
    const bool forward = axes[f] == "RAS"[world];
    n[f] = std::llround(kExtent_mm[world] / spacing_mm[f]);
    for (int w = 0; w < 3; ++w) affine.m[w][f] = 0;
    affine.m[world][f] = forward ? spacing_mm[f] : -spacing_mm[f];
    affine.m[world][3] = forward ? spacing_mm[f] / 2 : kExtent_mm[world] - spacing_mm[f] / 2;
  }
  CaseVolumes v;
  v.grid = make_geometry(n, affine);
  v.images = Tensor::zeros({1, n[2], n[1], n[0]}, DType::f32);
  v.prediction = Tensor::zeros({n[2], n[1], n[0]}, DType::u8);
  v.truth = v.prediction.clone();
  for (int64_t i = 0; i < v.images.size(); ++i) {
    const std::array<int64_t, 3> p{i % n[0], i / n[0] % n[1], i / (n[0] * n[1])};
    const auto mm = affine({static_cast<double>(p[0]), static_cast<double>(p[1]), static_cast<double>(p[2])});
    double head_radius = 0, lesion_mm = 0;
    for (int w = 0; w < 3; ++w) {
      head_radius += std::pow(2 * mm[w] / kExtent_mm[w] - 1, 2);
      lesion_mm += std::pow(mm[w] - kLesion_mm[w], 2);
    }
    if (head_radius < 1) v.images.data<float>()[i] = 100;
    if (lesion_mm < 25) v.prediction.data<uint8_t>()[i] = 3;
  }
  return v;
}

Double3 lesion_voxel(const CaseVolumes& v) {
  const auto index = v.grid.affine.inverse()(kLesion_mm);
  return {index[2], index[1], index[0]};
}

const SliceContent kTumour{0, {{"et", {3}}}, ""};

bool coloured(Rgb c) { return c[0] != c[2]; }

// Mean column and row of the pixels that are not grey, as shares of the picture.
std::array<double, 2> coloured_centre(const Picture& p, int first_column, int last_column) {
  double x = 0, y = 0;
  int count = 0;
  for (int py = 0; py < p.height; ++py)
    for (int px = first_column; px < last_column; ++px) {
      const Rgb c = p.at(px, py);
      if (!coloured(c)) continue;
      x += px - first_column;
      y += py;
      ++count;
    }
  return {x / count / (last_column - first_column), y / count / p.height};
}

}  // namespace

TEST(report, slices_have_the_patients_left_on_the_right_and_anterior_up) {
  const CaseVolumes v = head("RAS", {1, 1, 1});
  const Picture axial = SlicePainter(v).axial(lesion_voxel(v), 200, kTumour);
  const auto centre = coloured_centre(axial, 0, axial.width);
  EXPECT_GT(centre[0], .65);
  EXPECT_LT(centre[1], .35);
  const Picture planes = SlicePainter(v).three_planes(lesion_voxel(v), 200, kTumour);
  const int sagittal = planes.width - 150;  // the third panel: anterior to the left, superior up
  const auto third = coloured_centre(planes, sagittal, planes.width);
  EXPECT_LT(third[0], .5);
  EXPECT_LT(third[1], .4);
}

TEST(report, slices_do_not_depend_on_how_the_volume_is_stored) {
  const CaseVolumes ras = head("RAS", {1, 1, 1});
  const Picture expected = SlicePainter(ras).three_planes(lesion_voxel(ras), 120, kTumour);
  for (const std::string axes : {"LPS", "LAS", "PSR", "IAL", "SLP"}) {
    const CaseVolumes v = head(axes, {1, 1, 1});
    const Picture picture = SlicePainter(v).three_planes(lesion_voxel(v), 120, kTumour);
    ASSERT_EQ(picture.width, expected.width) << axes;
    // Pixels whose centre lies on a voxel's edge may fall to either side.
    int64_t different = 0;
    for (size_t i = 0; i < picture.rgb.size(); ++i) different += std::abs(picture.rgb[i] - expected.rgb[i]) > 2;
    EXPECT_LT(static_cast<double>(different), .01 * static_cast<double>(picture.rgb.size())) << axes;
  }
}

// What only a far slice holds is seen when looking through.
TEST(report, slices_may_be_looked_through) {
  const CaseVolumes v = head("RAS", {1, 1, 1});
  Tensor share = Tensor::zeros(v.truth.shape(), DType::f32);
  const Double3 lesion = lesion_voxel(v), far{lesion[0] > 5 ? 0. : 9., lesion[1], lesion[2]};
  const Shape& n = share.shape();
  share.data<float>()[(static_cast<int64_t>(lesion[0]) * n[1] + static_cast<int64_t>(lesion[1])) * n[2] +
                      static_cast<int64_t>(lesion[2])] = 1;
  const auto tinted = [&](bool through) {
    const Picture p = SlicePainter(v).axial(far, 200, {0, {}, "", {{share, {255, 0, 0}}}, through});
    int count = 0;
    for (int i = 0; i < p.width * p.height; ++i) count += coloured(p.at(i % p.width, i / p.width));
    return count;
  };
  EXPECT_EQ(tinted(false), 0);
  EXPECT_GT(tinted(true), 4);
}

TEST(report, close_ups_have_three_planes) {
  const CaseVolumes v = head("RAS", {1, 1, 1});
  const Picture one = SlicePainter(v).close_up(lesion_voxel(v), 40, 100, kTumour),
                all = SlicePainter(v).close_up_planes(lesion_voxel(v), 40, 100, kTumour);
  EXPECT_EQ(all.width, 3 * 100 + 2 * kPanelGap);
  EXPECT_EQ(all.height, 100);
  for (int plane = 0; plane < 3; ++plane) {
    const int first = plane * (100 + kPanelGap);
    const auto centre = coloured_centre(all, first, first + 100);
    EXPECT_NEAR(centre[0], .5, .05) << plane;
    EXPECT_NEAR(centre[1], .5, .05) << plane;
  }
  EXPECT_EQ(all.at(50, 50), one.at(50, 50));
}

TEST(report, slices_are_true_to_scale) {
  const CaseVolumes thick = head("LPS", {1, .5, 2});
  const Picture p = SlicePainter(thick).axial(lesion_voxel(thick), 240, kTumour);
  // 40 mm wide and 48 mm tall, both with 4 mm around; the head's outermost voxel centres are within 2 voxels of that.
  EXPECT_NEAR(static_cast<double>(p.width) / p.height, 48.0 / 56, .04);
}

// A ball 10 mm wide, 40 mm around: the line runs 5 mm from the middle, a quarter of a pixel's 0.2 mm and half its width
// aside.
TEST(report, slices_outline_truth_and_prediction) {
  CaseVolumes v = head("RAS", {1, 1, 1});
  std::swap(v.truth, v.prediction);
  constexpr int kPixels = 200;
  const auto picture = [&](const SliceContent& content) {
    return SlicePainter(v).close_up(lesion_voxel(v), 40, kPixels, content);
  };
  const auto expect_ring = [&](const Picture& p, Rgb colour) {
    double most = 0, least = kPixels;
    for (int y = 0; y < kPixels; ++y)
      for (int x = 0; x < kPixels; ++x) {
        if (!coloured(p.at(x, y))) continue;
        const double mm = .2 * std::hypot(x + .5 - kPixels / 2., y + .5 - kPixels / 2.);
        most = std::max(most, mm);
        least = std::min(least, mm);
      }
    // Voxels whose centre is within 5 mm (10 of them in a row); halfway to the next one.
    EXPECT_NEAR(most, 5, 1);
    EXPECT_NEAR(least, 5, 1);
    bool pure = false;
    for (int i = 0; i < kPixels * kPixels; ++i) pure |= p.at(i % kPixels, i / kPixels) == colour;
    EXPECT_TRUE(pure);
  };
  expect_ring(picture(kTumour), kTruthColour);
  std::swap(v.truth, v.prediction);
  expect_ring(picture(kTumour), kPredictionColour);
  const Picture plain = picture({0, {}, ""});
  for (int i = 0; i < kPixels * kPixels; ++i) ASSERT_FALSE(coloured(plain.at(i % kPixels, i / kPixels)));
}

void add_ball(const Tensor& labels, const Double3& centre, double radius) {
  const Shape& n = labels.shape();
  for (int64_t i = 0; i < labels.size(); ++i) {
    const Int3 at{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    double square = 0;
    for (int a = 0; a < 3; ++a) square += std::pow(static_cast<double>(at[a]) - centre[a], 2);
    if (square <= radius * radius) labels.data<uint8_t>()[i] = 3;
  }
}

// One lesion 10 mm wide up, two of 8 mm side by side below.
TEST(report, a_row_shows_the_slice_that_cuts_the_lesions_widest) {
  const Path root = fresh_dir("row");
  CaseVolumes v = head("RAS", {1, 1, 1});
  const Tensor truth = Tensor::zeros(v.truth.shape(), DType::u8);
  add_ball(truth, {32, 24, 20}, 5);
  add_ball(truth, {14, 24, 10}, 4);
  add_ball(truth, {14, 24, 30}, 4);
  write_nifti(root / "image.nii.gz", v.images.reshape(v.truth.shape()), v.grid);
  write_nifti(root / "truth.nii.gz", truth, v.grid);
  write_nifti(root / "nothing.nii.gz", v.truth, v.grid);
  const CasePictures pictures("a", {root / "nothing.nii.gz", root / "truth.nii.gz", {root / "image.nii.gz"}, {"T1C"}});
  const Picture row = pictures.row(200);
  const int panel = (row.width - kPanelGap) / 2, middle = row.width - panel / 2;
  int left = 0, right = 0, on_plain = 0, between = 0;
  for (int y = 0; y < row.height; ++y)
    for (int x = 0; x < row.width; ++x) {
      if (!coloured(row.at(x, y)) || (x >= panel && x < panel + kPanelGap)) continue;
      (x < panel ? on_plain : std::abs(x - middle) < 10 ? between : x < middle ? left : right) += 1;
    }
  EXPECT_GT(left, 30);
  EXPECT_GT(right, 30);
  EXPECT_EQ(between, 0);
  EXPECT_EQ(on_plain, 0);
}

TEST(report, numbers_are_those_of_the_tables) {
  const CsvTable scores{{"sample", "DICE_et", "DICE_tc", "DICE_wt", "Hausdorff_et", "Hausdorff_tc", "Hausdorff_wt"},
                        {{"a", "nan", "0.5", "1", "inf", "2", "3"}, {"b", "0.25", "0.7", "0.5", "4", "inf", "1"}}};
  const CsvTable lesions{{"sample", "region", "kind", "diameter_mm"},
                         {{"a", "tc", "matched", "2.9"},
                          {"a", "tc", "missed", "3"},
                          {"a", "tc", "false", "7"},
                          {"a", "wt", "missed", "20"},
                          {"b", "tc", "matched", "8"},
                          {"b", "tc", "matched", "30"}}};
  const ReportNumbers n = report_numbers(scores, lesions, "scores");
  EXPECT_EQ(n.cases, 2);
  EXPECT_DOUBLE_EQ(n.dice[0], .25);
  EXPECT_EQ(n.dice_cases[0], 1);
  EXPECT_DOUBLE_EQ(n.dice[1], .6);
  EXPECT_DOUBLE_EQ(n.hd95_mm[2], 2);
  EXPECT_EQ(n.all.lesions, 4);
  EXPECT_EQ(n.all.found, 3);
  EXPECT_EQ(n.all.false_positives, 1);
  EXPECT_EQ(n.bins[0].found, 1);
  EXPECT_EQ(n.bins[1].lesions, 1);
  EXPECT_EQ(n.bins[2].false_positives, 1);
  EXPECT_EQ(n.bins[3].lesions, 1);
  EXPECT_EQ(n.from_8_mm.found, 2);
}

TEST(report, text_is_escaped) { EXPECT_EQ(html::escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;"); }

TEST(report, a_page_and_an_overview_are_written) {
  const Path root = fresh_dir("r");
  for (const char* dir : {"images", "truth", "pred"}) std::filesystem::create_directories(root / dir);
  CaseVolumes v = head("LAS", {2, 2, 2});
  for (const std::string name : {"t1c", "t1n", "t2f", "t2w"})
    write_nifti(root / "images" / ("a-" + name + ".nii.gz"), v.images.reshape(v.truth.shape()), v.grid);
  write_nifti(root / "truth/a-seg.nii.gz", v.prediction, v.grid);
  write_nifti(root / "truth/b-seg.nii.gz", v.prediction, v.grid);
  write_nifti(root / "pred/a.nii.gz", v.truth, v.grid);
  write_nifti(root / "pred/b.nii.gz", v.truth, v.grid);
  write_text(root / "phantom.json", "{}");
  evaluate(root / "pred", root / "truth", find_label_names(root / "pred", root / "truth"), root / "scores", silent);
  write_report({root / "pred", root / "truth", root / "images", root / "scores", {}}, root / "report", silent);
  const std::string page = read_text(root / "report/index.html");
  for (const char* text : {"Phantoms are not patients", "not a medical device", "data:image/png;base64,", "0 of 2",
                           "No picture: b", "Missed lesions, smallest first"})
    EXPECT_NE(page.find(text), std::string::npos) << text;
  EXPECT_EQ(page.find("http"), std::string::npos) << "the page must not load anything";
  EXPECT_GT(read_png(root / "report/overview.png").width, 100);
}

}  // namespace metvox
