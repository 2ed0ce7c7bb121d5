// SPDX-License-Identifier: Apache-2.0
// The page's cases: scores one by one, the challenging ones in pictures, with the places where the folds differ.
#include <algorithm>
#include <set>

#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/explain/explain_colours.h"
#include "segmentation/study/report_pictures.h"

namespace metvox {
namespace {

constexpr std::array<const char*, 3> kRegions{"et", "tc", "wt"};
using Colours = std::vector<std::pair<Rgb, std::string>>;
constexpr double kFullDisagreement = 0.5;  // the most that folds can differ: half of them 0, half of them 1

// The region for which a case has most of its marks: what is wrong with it.
size_t region_at_fault(const CaseMarks& c) {
  return static_cast<size_t>(std::max_element(c.by_region.begin(), c.by_region.end()) - c.by_region.begin());
}

// The middle of the largest piece in which at least one prediction has another region than the truth; the middle of the
// volume where none has.
Double3 worst_place(const Tensor& truth, const std::vector<Tensor>& predictions, const LabelTarget& region) {
  Tensor wrong = Tensor::zeros(truth.shape(), DType::u8);
  const Tensor there = region_mask(truth, region);
  for (const Tensor& prediction : predictions) {
    const Tensor here = region_mask(prediction, region);
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

// As explain names the region in its files: of a dataset's labels both have the same ones.
std::string region_word(const DatasetDescription& dataset, const LabelTarget& region) {
  std::set<int> known, wanted;
  for (const LabelTarget& target : dataset.labels.foreground())
    known.insert(target.labels.begin(), target.labels.end());
  for (const int label : region.labels)
    if (known.contains(label)) wanted.insert(label);
  for (const LabelTarget& target : dataset.labels.foreground())
    if (std::set<int>(target.labels.begin(), target.labels.end()) == wanted) return target.name;
  return "";
}

// "TC".
std::string region_title(size_t region) {
  const std::string name = kRegions[region];
  return name == "et" ? "ET" : name == "tc" ? "TC" : "WT";
}

// A challenging case, and what its pictures show.
struct Challenge {
  std::string id;
  size_t region;                    // of kRegions
  std::vector<Tensor> predictions;  // by system
  Double3 place;
  LabelTarget target() const { return metastasis_regions()[region]; }
};

std::string predictions_row(const StudyResults& r, StudyCases& cases, const Challenge& c) {
  const auto sample =
      static_cast<size_t>(std::find(r.scores.samples.begin(), r.scores.samples.end(), c.id) - r.scores.samples.begin());
  CaseVolumes v = cases.volumes(c.id);
  const std::string region = kRegions[c.region], name = region_title(c.region);
  std::string out = figure(SlicePainter(v).axial(c.place, kSliceHeight, {}), "image", "first sequence") +
                    figure(SlicePainter(v).axial(c.place, kSliceHeight,
                                                 {0, {}, "", {{share_of(v.truth, c.target(), .6f), kTruthColour}}}),
                           "truth", name + " alone");
  for (size_t k = 0; k < r.systems.size(); ++k) {
    v.prediction = c.predictions[k];
    const auto value = [&](const std::string& metric, int digits) {
      return html::fixed(r.values(r.systems[k], metric + "_" + region)[sample], digits);
    };
    out += figure(SlicePainter(v).axial(c.place, kSliceHeight, {0, {c.target()}, ""}), r.systems[k].system.name(),
                  name + ": Dice " + value("DICE", 2) + ", HD95 " + value("Hausdorff", 1) + " mm, Sen " +
                      value("Sensitivity", 2) + ", Spe " + value("Specificity", 4));
  }
  return "<div class=\"small\">\n" + out + "</div>\n";
}

// Empty where nobody asked the folds one by one.
std::string disagreement_row(const StudyResults& r, StudyCases& cases, const Challenge& c) {
  std::string out;
  const std::string word = region_word(cases.dataset(), c.target());
  for (size_t k = 0; k < r.systems.size() && !word.empty(); ++k) {
    const Path folder = study_paths::explained(r.systems[k].system) / c.id, numbers = r.study / folder / "numbers.json";
    const Tensor map = cases.map(folder / ("disagreement_" + word + ".nii.gz"), c.id);
    if (!map || !std::filesystem::exists(numbers)) continue;
    for (float *x = map.data<float>(), *end = x + map.size(); x != end; ++x)
      *x = std::min(1.f, *x / static_cast<float>(kFullDisagreement));
    CaseVolumes v = cases.volumes(c.id);
    v.prediction = c.predictions[k];
    const double mean = number_at(read_json(numbers).value("regions", Json::object()).value(word, Json()),
                                  "/disagreement_mean_in_prediction");
    out += figure(SlicePainter(v).axial(c.place, kSliceHeight, {0, {c.target()}, "", {{map, kUnsureColour}}}),
                  r.systems[k].system.name(), "mean in its prediction " + html::fixed(mean, 3));
  }
  if (out.empty()) return "";
  return "<p class=\"soft\">Where the folds of each ensemble differ about it: standard deviation of their "
         "probabilities (metvox's own addition). A model may be sure and wrong.</p>\n<div class=\"small\">\n" +
         out + "</div>\n";
}

std::string case_pictures(const StudyResults& r, StudyCases& cases, const CaseMarks& marks) {
  Challenge c{marks.sample, region_at_fault(marks), {}, {}};
  for (const StudyResult& s : r.systems) c.predictions.push_back(cases.prediction(s.system, c.id));
  c.place = worst_place(cases.volumes(c.id).truth, c.predictions, c.target());
  return predictions_row(r, cases, c) + disagreement_row(r, cases, c);
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
  out +=
      sentence(". The first ", shown > 1 ? sentence(shown) : "",
               ", each by the region that most of its marks are of, in the slice where that is most wrong (figures 3, "
               "4 and 5 of the paper):</p>\n");
  const bool one_fold = r.config.folds.size() == 1;
  out += legend(
      one_fold ? Colours{{kTruthColour, "truth"}, {kPredictionColour, "prediction"}}
               : Colours{{kTruthColour, "truth"}, {kPredictionColour, "prediction"}, {kUnsureColour, "folds differ"}});
  if (one_fold)
    out +=
        "<p class=\"soft\">One fold each: there is nothing that its members could differ about, so no map of "
        "that.</p>\n";
  for (size_t k = 0; cases.fault().empty() && k < shown; ++k) {
    const CaseMarks& marks = r.paper.challenging[k];
    const size_t region = region_at_fault(marks);
    out +=
        sentence("<h3>", html::escape(marks.sample), ": ", region_title(region), " (", marks.by_region[region], " of ",
                 counted(marks.marks, "mark"), ")</h3>\n", or_note([&] { return case_pictures(r, cases, marks); }));
  }
  return out + "<h2>Case by case</h2>\n<p class=\"soft\">Dice ET / TC / WT</p>\n" + score_rows(r, "DICE", 2) +
         "<p class=\"soft\">HD95 ET / TC / WT, mm</p>\n" + score_rows(r, "Hausdorff", 1);
}

}  // namespace metvox
