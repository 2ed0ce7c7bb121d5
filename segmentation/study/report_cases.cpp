// SPDX-License-Identifier: Apache-2.0
// The page's cases: scores one by one, the challenging ones in pictures, what was missed.
#include <algorithm>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/slices.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

constexpr int kSliceHeight = 260, kCloseUpHeight = 200;
constexpr size_t kPictured = 3, kMostMissed = 24;
constexpr double kCloseUp_mm = 40;
constexpr std::array<const char*, 3> kRegions{"et", "tc", "wt"};

struct CaseOnDisk {
  Path image, truth;  // the image of the first channel
};

// None where the folders are gone: the page then has no pictures, and says why.
std::map<std::string, CaseOnDisk> find_cases(const StudyResults& r, std::string& fault) {
  std::map<std::string, CaseOnDisk> cases;
  try {
    const Path own = r.study / study_paths::kPrivate / "dataset.json";
    const auto dataset = std::filesystem::exists(own) ? read_description(own) : brats_description("");
    const Path images = r.study / study_paths::held_out_images(r.config);
    for (const CaseFiles& files : find_inputs(images, dataset.channel_names, nullptr))
      cases[files.id].image = files.images.front();
    for (const auto& [id, path] : find_labels(r.study / study_paths::held_out_truth(r.config))) cases[id].truth = path;
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    fault = "<p class=\"note\">No pictures: " + html::escape(e.what()) + "</p>\n";
  }
  return cases;
}

// Image and truth; the prediction is put in where it is wanted.
CaseVolumes read_volumes(const std::string& sample, const std::map<std::string, CaseOnDisk>& cases) {
  const auto found = cases.find(sample);
  if (found == cases.end() || found->second.image.empty() || found->second.truth.empty())
    fail(Fault::input, sample, ": image or truth is not there any more");
  const Volume image = read_nifti(found->second.image), truth = read_nifti_labels(found->second.truth);
  const Shape& n = image.voxels.shape();
  CaseVolumes v{image.voxels.reshape({1, n[0], n[1], n[2]}), {}, onto_lattice(truth, image.geometry), image.geometry};
  if (!v.truth) fail(Fault::input, sample, ": image and truth lie on different grids");
  return v;
}

Tensor read_prediction(const StudyResults& r, const StudySystem& system, const std::string& sample,
                       const Geometry& grid) {
  const Path path = r.study / study_paths::predictions(system) / (sample + ".nii.gz");
  Tensor labels = onto_lattice(read_nifti_labels(path), grid);
  if (!labels) fail(Fault::input, path.string(), ": lies on another grid than its image");
  return labels;
}

// How often a case is the worst of a system in a metric, the first one on ties (luumsk/BrainMetaSeg's count, of DICE,
// Sensitivity, Specificity and Hausdorff); those with the most marks first.
std::vector<std::pair<int64_t, size_t>> challenging(const StudyResults& r) {
  std::vector<std::pair<int64_t, size_t>> marks;
  for (size_t i = 0; i < r.scores.samples.size(); ++i) marks.push_back({0, i});
  for (const StudyResult& s : r.systems)
    for (const char* family : {"DICE", "Sensitivity", "Specificity", "Hausdorff"})
      for (const char* region : kRegions) {
        const std::string metric = std::string(family) + "_" + region;
        const auto& values = r.values(s, metric);
        size_t worst = values.size();
        for (size_t i = 0; i < values.size(); ++i) {
          if (std::isnan(values[i])) continue;
          const bool worse = worst == values.size() ||
                             (lower_is_better(metric) ? values[i] > values[worst] : values[i] < values[worst]);
          if (worse) worst = i;
        }
        if (worst < values.size()) ++marks[worst].first;
      }
  std::stable_sort(marks.begin(), marks.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  return marks;
}

// The middle of the largest piece in which at least one prediction has another tumour core than the truth; the middle
// of the volume where none has.
Double3 worst_place(const Tensor& truth, const std::vector<Tensor>& predictions) {
  Tensor wrong = Tensor::zeros(truth.shape(), DType::u8);
  const LabelTarget core = metastasis_regions()[1];
  const Tensor there = region_mask(truth, core);
  for (const Tensor& prediction : predictions) {
    const Tensor here = region_mask(prediction, core);
    for (int64_t i = 0; i < wrong.size(); ++i)
      wrong.data<uint8_t>()[i] |= there.data<uint8_t>()[i] != here.data<uint8_t>()[i];
  }
  const Components pieces = find_components(wrong);
  const auto largest = std::max_element(pieces.components.begin(), pieces.components.end(),
                                        [](const Component& a, const Component& b) { return a.voxels < b.voxels; });
  if (largest != pieces.components.end()) return largest->centre;
  const Shape& n = truth.shape();
  return {static_cast<double>(n[0]) / 2, static_cast<double>(n[1]) / 2, static_cast<double>(n[2]) / 2};
}

std::string figure(const Picture& picture, const std::string& name, const std::string& words) {
  return "<figure>" + html::image(picture, name) + "<figcaption><b>" + html::escape(name) +
         "</b><br><span class=\"soft\">" + html::escape(words) + "</span></figcaption></figure>\n";
}

std::string case_pictures(const StudyResults& r, size_t sample, const std::map<std::string, CaseOnDisk>& cases) {
  const std::string& id = r.scores.samples[sample];
  CaseVolumes v = read_volumes(id, cases);
  std::vector<Tensor> predictions;
  for (const StudyResult& s : r.systems) predictions.push_back(read_prediction(r, s.system, id, v.grid));
  const Double3 place = worst_place(v.truth, predictions);
  std::string out = "<div class=\"small\">\n";
  out += figure(SlicePainter(v).axial(place, kSliceHeight, {}), "image", "first sequence");
  for (size_t k = 0; k < r.systems.size(); ++k) {
    v.prediction = predictions[k];
    const auto value = [&](const std::string& metric, int digits) {
      return html::fixed(r.values(r.systems[k], metric)[sample], digits);
    };
    out += figure(SlicePainter(v).axial(place, kSliceHeight, {0, {metastasis_regions()[1]}, ""}),
                  r.systems[k].system.name(),
                  "TC: Dice " + value("DICE_tc", 2) + ", HD95 " + value("Hausdorff_tc", 1) + " mm, Sen " +
                      value("Sensitivity_tc", 2));
  }
  return out + "</div>\n";
}

std::string score_rows(const StudyResults& r, const std::string& family, int digits) {
  CsvTable table{{"Case"}, {}};
  for (const StudyResult& s : r.systems) table.columns.push_back(s.system.name());
  for (size_t i = 0; i < r.scores.samples.size(); ++i) {
    auto& row = table.rows.emplace_back(1, r.scores.samples[i]);
    for (const StudyResult& s : r.systems) {
      std::string cell;
      for (const char* region : kRegions) {
        const double value = r.values(s, family + "_" + region)[i];
        cell += (cell.empty() ? "" : " / ") + (std::isinf(value) ? "∞" : html::fixed(value, digits));
      }
      row.push_back(cell);
    }
  }
  return html::table(table);
}

std::string legend() {
  std::string out = "<ul class=\"legend\">";
  for (const auto& [colour, text] : {std::pair{kTruthColour, "truth"}, {kPredictionColour, "prediction"}})
    out += "<li><i style=\"background:" + html::colour(colour) + "\"></i>" + text + "</li>";
  return out + "<li>Outlined is the tumour core.</li></ul>\n";
}

}  // namespace

std::string cases_section(const StudyResults& r) {
  const auto marks = challenging(r);
  std::string fault;
  const auto cases = find_cases(r, fault);
  std::string out = "<h2>Challenging cases</h2>\n<p>Marks: how often a case is the worst of a system, over ";
  out += sentence(r.systems.size(), " systems and 12 metrics: ");
  for (size_t k = 0; k < marks.size() && marks[k].first > 0; ++k)
    out += (k ? ", " : "") + html::escape(r.scores.samples[marks[k].second]) + sentence(" ", marks[k].first);
  out += ". The first three in the slice where the tumour core is most wrong:</p>\n" + fault + legend();
  for (size_t k = 0; fault.empty() && k < std::min(kPictured, marks.size()); ++k) {
    out += "<h3>" + html::escape(r.scores.samples[marks[k].second]) + "</h3>\n";
    try {
      out += case_pictures(r, marks[k].second, cases);
    } catch (const Error& e) {
      if (e.fault() != Fault::input) throw;
      out += "<p class=\"note\">No picture: " + html::escape(e.what()) + "</p>\n";
    }
  }
  return out + "<h2>Case by case</h2>\n<p class=\"soft\">Dice ET / TC / WT</p>\n" + score_rows(r, "DICE", 2) +
         "<p class=\"soft\">HD95 ET / TC / WT, mm</p>\n" + score_rows(r, "Hausdorff", 1);
}

std::string missed_section(const StudyResults& r) {
  std::vector<const StudyLesion*> missed;
  for (const StudyLesion& l : r.lesions)
    if (std::find(l.found.begin(), l.found.end(), false) != l.found.end()) missed.push_back(&l);
  std::string out = "<h2>What was missed</h2>\n";
  if (missed.empty()) return out + "<p>Every system found every lesion.</p>\n";
  const auto by_all = std::count_if(missed.begin(), missed.end(), [](const StudyLesion* l) {
    return std::find(l->found.begin(), l->found.end(), true) == l->found.end();
  });
  out += sentence("<p>", missed.size(), " of ", r.lesions.size(), " lesions were missed by at least one system, ",
                  by_all, " of them by all. The smallest first; the line is the truth.</p>\n<div class=\"small\">\n");
  std::string fault;
  const auto cases = find_cases(r, fault);
  CsvTable table{{"Lesion", "Diameter, mm"}, {}};
  for (const StudyResult& s : r.systems) table.columns.push_back(s.system.name());
  std::map<std::string, CaseVolumes> volumes;
  for (size_t k = 0; k < missed.size(); ++k) {
    const StudyLesion& l = *missed[k];
    const std::string place =
        html::fixed(l.centre_mm[0], 0) + ", " + html::fixed(l.centre_mm[1], 0) + ", " + html::fixed(l.centre_mm[2], 0);
    auto& row = table.rows.emplace_back();
    row = {l.sample + " at " + place, html::fixed(l.diameter_mm, 1)};
    for (const bool found : l.found) row.push_back(found ? "found" : "–");
    if (k >= kMostMissed || !cases.contains(l.sample)) continue;
    if (!volumes.contains(l.sample)) volumes[l.sample] = read_volumes(l.sample, cases);
    const CaseVolumes& v = volumes[l.sample];
    const auto index = v.grid.affine.inverse()(l.centre_mm);
    out += figure(
        SlicePainter(v).close_up({index[2], index[1], index[0]}, kCloseUp_mm, kCloseUpHeight,
                                 {0, {metastasis_regions()[1]}, ""}),
        html::fixed(l.diameter_mm, 1) + " mm",
        sentence(l.sample, ", found by ", std::count(l.found.begin(), l.found.end(), true), " of ", l.found.size()));
  }
  return out + "</div>\n" + fault + "<details><summary>Which system found which (place in mm: R, A, S)</summary>\n" +
         html::table(table) + "</details>\n";
}

}  // namespace metvox
