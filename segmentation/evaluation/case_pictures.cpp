// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/case_pictures.h"

#include <algorithm>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "segmentation/data/dataset.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/metrics.h"

namespace metvox {

namespace {

CaseVolumes read_volumes(const std::string& sample, const CasePaths& paths) {
  if (paths.images.empty()) fail(Fault::input, sample, ": no images of this case");
  const CaseImages images = read_case({sample, paths.images, {}});
  const Volume truth = read_nifti_labels(paths.truth), prediction = read_nifti_labels(paths.prediction);
  CaseVolumes v{images.data, onto_lattice(prediction, images.geometry), onto_lattice(truth, images.geometry),
                images.geometry};
  if (!v.prediction || !v.truth) fail(Fault::input, sample, ": images and labels lie on different grids");
  return v;
}

// The core is outlined on the first sequence, the whole tumour on the second; both on a single one.
std::vector<SliceContent> contents_of(const std::vector<std::string>& names) {
  const auto regions = metastasis_regions();
  const LabelTarget &et = regions[0], &tc = regions[1], &wt = regions[2];
  if (names.size() < 2) return {{0, {et, tc, wt}, names.at(0)}};
  return {{0, {et, tc}, names[0]}, {1, {wt}, names[1]}};
}

SliceContent alone(const SliceContent& content) { return {content.image, {}, content.name}; }

// Lesions of the truth, else of the prediction; of the core, else of any label.
Components lesions_of(const CaseVolumes& v) {
  for (const Tensor& labels : {v.truth, v.prediction})
    for (const size_t region : {1, 2}) {
      Components found = find_components(region_mask(labels, metastasis_regions()[region]));
      if (!found.components.empty()) return found;
    }
  return {};
}

Double3 middle_of_largest(const CaseVolumes& v) {
  const Components lesions = lesions_of(v);
  const auto largest = std::max_element(lesions.components.begin(), lesions.components.end(),
                                        [](const Component& a, const Component& b) { return a.voxels < b.voxels; });
  if (largest != lesions.components.end()) return largest->centre;
  const Shape& n = v.images.shape();
  return {static_cast<double>(n[1]) / 2, static_cast<double>(n[2]) / 2, static_cast<double>(n[3]) / 2};
}

}  // namespace

std::map<std::string, CasePaths> find_case_paths(const Path& predictions, const Path& truths, const Path& images) {
  std::map<std::string, CasePaths> paths;
  const Path description = predictions / "dataset.json";
  const auto dataset = std::filesystem::exists(description) ? read_description(description) : brats_description("");
  const std::vector<std::string>& channels = dataset.channel_names;
  std::vector<size_t> shown{0};
  for (size_t i = 1; i < channels.size(); ++i)
    if (shown.size() == 1 && sequence_key(channels[i]) == "t2f") shown.push_back(i);
  std::vector<std::string> faults;
  for (const CaseFiles& files : find_inputs(images, channels, &faults))
    for (const size_t i : shown) {
      paths[files.id].images.push_back(files.images[i]);
      paths[files.id].names.push_back(channels[i]);
    }
  for (const auto& [sample, path] : find_labels(predictions)) paths[sample].prediction = path;
  for (const auto& [sample, path] : find_labels(truths)) paths[sample].truth = path;
  return paths;
}

CasePictures::CasePictures(const std::string& sample, const CasePaths& paths)
    : volumes_(read_volumes(sample, paths)),
      contents_(contents_of(paths.names)),
      painter_(volumes_),
      middle_(middle_of_largest(volumes_)) {}

Picture CasePictures::planes(int height) const {
  std::vector<Picture> rows;
  for (const SliceContent& content : contents_)
    rows.push_back(beside(
        {painter_.axial(middle_, height, alone(content)), painter_.three_planes(middle_, height, content)}, kPanelGap));
  return below(rows, kPanelGap);
}

// Of all axial slices the one with the largest sum of its lesions' diameters.
Double3 CasePictures::widest_slice() const {
  const Components lesions = lesions_of(volumes_);
  if (lesions.components.empty()) return middle_;
  const Shape& n = lesions.index.shape();
  const int axis = painter_.superior_axis();
  const int64_t slices = n[axis];
  std::vector<int64_t> area(slices * static_cast<int64_t>(lesions.components.size()));
  for (int64_t i = 0; i < lesions.index.size(); ++i) {
    const Int3 at{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    const int32_t lesion = lesions.index.data<int32_t>()[i];
    if (lesion > 0) ++area[(lesion - 1) * slices + at[axis]];
  }
  std::vector<double> diameters(slices);
  for (size_t i = 0; i < area.size(); ++i)
    diameters[static_cast<int64_t>(i) % slices] += std::sqrt(static_cast<double>(area[i]));
  Double3 point = middle_;
  point[axis] = static_cast<double>(std::max_element(diameters.begin(), diameters.end()) - diameters.begin());
  return point;
}

Picture CasePictures::row(int height) const {
  const Double3 point = widest_slice();
  std::vector<Picture> panels;
  for (const SliceContent& content : contents_) {
    panels.push_back(painter_.axial(point, height, alone(content)));
    panels.push_back(painter_.axial(point, height, content));
  }
  return beside(panels, kPanelGap);
}

Picture CasePictures::close_up(const std::array<double, 3>& centre_mm, double field_mm, int height) const {
  const auto index = volumes_.grid.affine.inverse()(centre_mm);
  const Double3 voxel{index[2], index[1], index[0]};
  const SliceContent core{0, {metastasis_regions()[1]}, ""};
  return beside(
      {painter_.close_up(voxel, field_mm, height, alone(core)), painter_.close_up(voxel, field_mm, height, core)},
      kPanelGap);
}

Picture with_legend(const Picture& picture) {
  constexpr int kHeight = 34;
  constexpr Rgb kText{225, 225, 225};
  Picture bar(picture.width, kHeight, {16, 18, 22});
  int x = 10;
  for (const auto& [colour, text] : {std::pair{kTruthColour, "truth"}, {kPredictionColour, "metvox"}}) {
    bar.line(x, kHeight / 2., x + 34, kHeight / 2., colour, 3);
    bar.text(x + 42, kHeight / 2 - 7, text, kText, 2);
    x += 42 + Picture::text_width(text, 2) + 28;
  }
  return below({picture, bar}, 0);
}

}  // namespace metvox
