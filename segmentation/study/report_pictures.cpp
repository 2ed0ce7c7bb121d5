// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/report_pictures.h"

#include <algorithm>

#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "segmentation/evaluation/html.h"

namespace metvox {

StudyCases::StudyCases(const StudyConfig& config, const Path& study) : study_(study) {
  const Path own = study / study_paths::kPrivate / "dataset.json";
  dataset_ = std::filesystem::exists(own) ? read_description(own) : brats_description("");
  const std::vector<std::string>& channels = dataset_.channel_names;
  try {
    for (const CaseFiles& files : find_inputs(study / study_paths::held_out_images(config), channels, nullptr)) {
      std::vector<Path>& images = cases_[files.id].images;
      images.push_back(files.images.front());
      for (size_t i = 1; i < channels.size() && images.size() == 1; ++i)
        if (sequence_key(channels[i]) == "t2f") images.push_back(files.images[i]);
    }
    for (const auto& [id, path] : find_labels(study / study_paths::held_out_truth(config))) cases_[id].truth = path;
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    fault_ = e.what();
  }
}

const CaseVolumes& StudyCases::volumes(const std::string& sample) {
  if (sample == kept_sample_) return kept_;
  const auto found = cases_.find(sample);
  if (found == cases_.end() || found->second.images.empty() || found->second.truth.empty())
    fail(Fault::input, sample, ": image or truth is not there any more");
  const CaseImages images = read_case({sample, found->second.images, {}});
  const Volume truth = read_nifti_labels(found->second.truth);
  kept_ = {images.data, {}, onto_lattice(truth, images.geometry), images.geometry};
  if (!kept_.truth) fail(Fault::input, sample, ": image and truth lie on different grids");
  kept_sample_ = sample;
  return kept_;
}

Tensor StudyCases::prediction(const StudySystem& system, const std::string& sample) {
  const Path path = study_ / study_paths::predictions(system) / (sample + ".nii.gz");
  const Tensor labels = onto_lattice(read_nifti_labels(path), volumes(sample).grid);
  if (!labels) fail(Fault::input, path.string(), ": lies on another grid than its image");
  return labels;
}

CaseVolumes StudyCases::predicted(const StudySystem& system, const std::string& sample) {
  CaseVolumes v = volumes(sample);
  v.prediction = prediction(system, sample);
  return v;
}

Tensor StudyCases::map(const Path& file, const std::string& sample) {
  if (!std::filesystem::exists(study_ / file)) return {};
  const Tensor values = onto_lattice(read_nifti(study_ / file), volumes(sample).grid);
  if (!values) fail(Fault::input, file.string(), ": lies on another grid than its image");
  return values;
}

std::string figure(const Picture& picture, const std::string& name, const std::string& words) {
  return "<figure>" + html::image(picture, name) + "<figcaption><b>" + html::escape(name) +
         "</b><br><span class=\"soft\">" + html::escape(words) + "</span></figcaption></figure>\n";
}

std::string or_note(const std::function<std::string()>& pictures) {
  try {
    return pictures();
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    return "<p class=\"note\">No picture: " + html::escape(e.what()) + "</p>\n";
  }
}

Double3 voxel_at(const Geometry& grid, const std::array<double, 3>& mm) {
  const auto index = grid.affine.inverse()(mm);
  return {index[2], index[1], index[0]};
}

Tensor share_of(const Tensor& labels, const LabelTarget& region, float opacity) {
  const Tensor inside = region_mask(labels, region), share = Tensor::empty(labels.shape(), DType::f32);
  std::transform(inside.data<uint8_t>(), inside.data<uint8_t>() + inside.size(), share.data<float>(),
                 [opacity](uint8_t there) { return there ? opacity : 0.f; });
  return share;
}

std::string legend(const std::vector<std::pair<Rgb, std::string>>& colours) {
  std::string out = "<ul class=\"legend\">";
  for (const auto& [colour, text] : colours)
    out += "<li><i style=\"background:" + html::colour(colour) + "\"></i>" + html::escape(text) + "</li>";
  return out + "</ul>\n";
}

}  // namespace metvox
