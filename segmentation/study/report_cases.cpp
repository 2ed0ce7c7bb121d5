// SPDX-License-Identifier: Apache-2.0
// The page's cases: scores one by one, the challenging ones in pictures, with the places where the folds differ.
#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/explain/explain_colours.h"
#include "segmentation/study/report_pictures.h"

namespace metvox {
namespace {

constexpr std::array<const char*, 3> kRegions{"et", "tc", "wt"};
using Colours = std::vector<std::pair<Rgb, std::string>>;
constexpr double kFullDisagreement = 0.5;  // the most that folds can differ: half of them 0, half of them 1

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

// As explain names the tumour core in its files.
std::string core_word(const DatasetDescription& dataset) {
  const LabelTarget core = metastasis_regions()[1];
  for (const LabelTarget& target : dataset.labels.foreground())
    if (std::is_permutation(target.labels.begin(), target.labels.end(), core.labels.begin(), core.labels.end()))
      return target.name;
  return "";
}

std::string predictions_row(const StudyResults& r, StudyCases& cases, const std::string& id,
                            const std::vector<Tensor>& predictions, const Double3& place) {
  const size_t sample =
      static_cast<size_t>(std::find(r.scores.samples.begin(), r.scores.samples.end(), id) - r.scores.samples.begin());
  CaseVolumes v = cases.volumes(id);
  std::string out = figure(SlicePainter(v).axial(place, kSliceHeight, {}), "image", "first sequence");
  for (size_t k = 0; k < r.systems.size(); ++k) {
    v.prediction = predictions[k];
    const auto value = [&](const std::string& metric, int digits) {
      return html::fixed(r.values(r.systems[k], metric)[sample], digits);
    };
    out += figure(SlicePainter(v).axial(place, kSliceHeight, {0, {metastasis_regions()[1]}, ""}),
                  r.systems[k].system.name(),
                  "TC: Dice " + value("DICE_tc", 2) + ", HD95 " + value("Hausdorff_tc", 1) + " mm, Sen " +
                      value("Sensitivity_tc", 2) + ", Spe " + value("Specificity_tc", 4));
  }
  return "<div class=\"small\">\n" + out + "</div>\n";
}

// Empty where nobody asked the folds one by one.
std::string disagreement_row(const StudyResults& r, StudyCases& cases, const std::string& id,
                             const std::vector<Tensor>& predictions, const Double3& place) {
  std::string out;
  const std::string word = core_word(cases.dataset());
  for (size_t k = 0; k < r.systems.size() && !word.empty(); ++k) {
    const Path folder = study_paths::explained(r.systems[k].system) / id, numbers = r.study / folder / "numbers.json";
    const Tensor map = cases.map(folder / ("disagreement_" + word + ".nii.gz"), id);
    if (!map || !std::filesystem::exists(numbers)) continue;
    for (float *x = map.data<float>(), *end = x + map.size(); x != end; ++x)
      *x = std::min(1.f, *x / static_cast<float>(kFullDisagreement));
    CaseVolumes v = cases.volumes(id);
    v.prediction = predictions[k];
    const double mean = number_at(read_json(numbers).value("regions", Json::object()).value(word, Json()),
                                  "/disagreement_mean_in_prediction");
    out +=
        figure(SlicePainter(v).axial(place, kSliceHeight, {0, {metastasis_regions()[1]}, "", {{map, kUnsureColour}}}),
               r.systems[k].system.name(), "mean in its prediction " + html::fixed(mean, 3));
  }
  if (out.empty()) return "";
  return "<p class=\"soft\">Where the folds of each ensemble differ about the tumour core: standard deviation of their "
         "probabilities (metvox's own addition). A model may be sure and wrong.</p>\n<div class=\"small\">\n" +
         out + "</div>\n";
}

std::string case_pictures(const StudyResults& r, StudyCases& cases, const std::string& id) {
  std::vector<Tensor> predictions;
  for (const StudyResult& s : r.systems) predictions.push_back(cases.prediction(s.system, id));
  const Double3 place = worst_place(cases.volumes(id).truth, predictions);
  return predictions_row(r, cases, id, predictions, place) + disagreement_row(r, cases, id, predictions, place);
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
        cell += (cell.empty() ? "" : " / ") + html::fixed(value, digits);
      }
      row.push_back(cell);
    }
  }
  return html::table(table);
}

}  // namespace

std::string cases_section(const StudyResults& r, StudyCases& cases) {
  std::string out = sentence("<h2>Challenging cases</h2>\n<p>Marks: how often a case is the worst of a system, over ",
                             r.systems.size(), " systems and 12 metrics: ");
  for (size_t k = 0; k < r.paper.challenging.size() && r.paper.challenging[k].marks > 0; ++k)
    out += (k ? ", " : "") + html::escape(r.paper.challenging[k].sample) + sentence(" ", r.paper.challenging[k].marks);
  const size_t shown = std::min<size_t>(kChallengingShown, r.paper.challenging.size());
  out += sentence(". The first ", shown > 1 ? sentence(shown) : "",
                  " in the slice where the tumour core is most wrong (figures 3, 4 and 5 of the paper):</p>\n");
  const bool one_fold = r.config.folds.size() == 1;
  out += legend(
      one_fold ? Colours{{kTruthColour, "truth"}, {kPredictionColour, "prediction"}}
               : Colours{{kTruthColour, "truth"}, {kPredictionColour, "prediction"}, {kUnsureColour, "folds differ"}});
  if (one_fold)
    out +=
        "<p class=\"soft\">One fold each: there is nothing that its members could differ about, so no map of "
        "that.</p>\n";
  for (size_t k = 0; cases.fault().empty() && k < shown; ++k) {
    const std::string& id = r.paper.challenging[k].sample;
    out += "<h3>" + html::escape(id) + "</h3>\n" + or_note([&] { return case_pictures(r, cases, id); });
  }
  return out + "<h2>Case by case</h2>\n<p class=\"soft\">Dice ET / TC / WT</p>\n" + score_rows(r, "DICE", 2) +
         "<p class=\"soft\">HD95 ET / TC / WT, mm</p>\n" + score_rows(r, "Hausdorff", 1);
}

}  // namespace metvox
