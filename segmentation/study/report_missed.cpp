// SPDX-License-Identifier: Apache-2.0
// The page's misses: a head whose tiny lesions some systems miss, every missed lesion, the necrotic core.
#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/viewer_files.h"
#include "segmentation/explain/explain_colours.h"
#include "segmentation/study/report_pictures.h"

namespace metvox {
namespace {

constexpr size_t kMostMissed = 24, kMostTiny = 3;
constexpr Rgb kSomeColour{255, 193, 59};

int64_t finders(const StudyLesion& l) { return std::count(l.found.begin(), l.found.end(), true); }
bool missed_by_any(const StudyLesion& l) { return finders(l) < std::ssize(l.found); }

std::string finders_text(const StudyLesion& l) {
  return sentence("found by ", finders(l), " of ", l.found.size(), " systems");
}

// The head with the smallest lesion that systems disagree about; else with the smallest that all miss.
const StudyLesion* disputed(const StudyResults& r) {
  for (const bool all_miss : {false, true})
    for (const StudyLesion& l : r.lesions)
      if (missed_by_any(l) && (finders(l) == 0) == all_miss) return &l;
  return nullptr;
}

// The head seen through from three sides, its lesions coloured by who found them.
Picture seen_through(const StudyResults& r, const std::string& sample, const CaseVolumes& v) {
  const Components components = find_components(region_mask(v.truth, metastasis_regions()[1]));
  std::vector<size_t> group(components.components.size() + 1, 0);  // 0 none, 1 all, 2 some, 3 nobody
  for (const StudyLesion& l : r.lesions)
    if (l.sample == sample) {
      if (l.id < 1 || l.id >= std::ssize(group))
        fail(Fault::input, sample, ": the truth has other lesions than when it was scored");
      group[static_cast<size_t>(l.id)] = !missed_by_any(l) ? 1 : finders(l) > 0 ? 2 : 3;
    }
  std::vector<Tint> tints;
  for (const auto& [number, colour] : {std::pair{size_t{1}, kHitColour}, {2, kSomeColour}, {3, kMissedColour}}) {
    const Tensor share = Tensor::empty(v.truth.shape(), DType::f32);
    for (int64_t i = 0; i < share.size(); ++i)
      share.data<float>()[i] = group[static_cast<size_t>(components.index.data<int32_t>()[i])] == number ? .85f : 0.f;
    tints.push_back({share, colour});
  }
  return SlicePainter(v).three_planes({}, kSliceHeight, {0, {}, "", tints, true});
}

std::string tiny_figure(const StudyResults& r, StudyCases& cases) {
  const StudyLesion* first = disputed(r);
  if (!first) return "";
  const CaseVolumes& v = cases.volumes(first->sample);
  std::string out =
      sentence("<h3>", html::escape(first->sample), "</h3>\n<p>The head with the smallest lesion that ",
               finders(*first) > 0 ? "only some systems found" : "every system missed",
               " (figure 6 of the paper), seen through from above, from the front and from the side.</p>\n",
               legend({{kHitColour, "lesions that every system found"},
                       {kSomeColour, "that some found"},
                       {kMissedColour, "that none found"}})) +
      "<figure>" + html::image(seen_through(r, first->sample, v), "lesions of " + first->sample) + "</figure>\n" +
      legend({{kTruthColour, "truth"}, {kPredictionColour, "prediction"}});
  std::vector<const StudyLesion*> shown;  // the disputed ones first
  for (const StudyLesion& l : r.lesions)
    if (l.sample == first->sample && missed_by_any(l)) shown.push_back(&l);
  std::stable_partition(shown.begin(), shown.end(), [](const StudyLesion* l) { return finders(*l) > 0; });
  if (shown.size() > kMostTiny)
    out += sentence("<p>The first ", kMostTiny, " of its ", shown.size(), " lesions that were missed:</p>\n");
  for (size_t i = 0; i < std::min(kMostTiny, shown.size()); ++i) {
    const StudyLesion& l = *shown[i];
    out += "<p>" + html::fixed(l.diameter_mm, 1) + " mm, " + finders_text(l) + ":</p>\n<div class=\"small\">\n";
    for (size_t k = 0; k < r.systems.size(); ++k) {
      const CaseVolumes of_system = cases.predicted(r.systems[k].system, l.sample);
      out += figure(SlicePainter(of_system).close_up(voxel_at(v.grid, l.centre_mm), kCloseUp_mm, kCloseUpHeight,
                                                     {0, {metastasis_regions()[1]}, ""}),
                    r.systems[k].system.name(), l.found[k] ? "found" : "missed");
    }
    out += "</div>\n";
  }
  return out;
}

std::string thumbnails(const std::vector<const StudyLesion*>& missed, StudyCases& cases) {
  std::string out;
  for (size_t k = 0; k < std::min(kMostMissed, missed.size()); ++k)
    out += or_note([&] {
      const StudyLesion& l = *missed[k];
      const CaseVolumes& v = cases.volumes(l.sample);
      return figure(SlicePainter(v).close_up_planes(voxel_at(v.grid, l.centre_mm), kCloseUp_mm, kCloseUpHeight,
                                                    {0, {metastasis_regions()[1]}, ""}),
                    html::fixed(l.diameter_mm, 1) + " mm", l.sample + ", " + finders_text(l));
    });
  out = "<div class=\"triple\">\n" + out + "</div>\n";
  if (missed.size() <= kMostMissed) return out;
  return sentence("<p>Shown are the ", kMostMissed, " smallest; the table below them has all ", missed.size(),
                  ".</p>\n") +
         out;
}

std::string missed_table(const StudyResults& r, const std::vector<const StudyLesion*>& missed) {
  CsvTable table{{"Lesion", "Diameter, mm"}, {}};
  for (const StudyResult& s : r.systems) table.columns.push_back(s.system.name());
  for (const StudyLesion* l : missed) {
    auto& row = table.rows.emplace_back();
    row = {l->sample + " at " + html::fixed(l->centre_mm[0], 0) + ", " + html::fixed(l->centre_mm[1], 0) + ", " +
               html::fixed(l->centre_mm[2], 0),
           html::fixed(l->diameter_mm, 1)};
    for (const bool found : l->found) row.push_back(found ? "found" : "–");
  }
  return "<details><summary>Which system found which (place in mm: R, A, S)</summary>\n" + html::table(table) +
         "</details>\n";
}

// A case by how differently the systems see its necrotic core.
struct Necrosis {
  std::string sample;
  std::vector<double> dice;  // by system
  double spread = -1;
};

Necrosis most_different_necrosis(const StudyResults& r, StudyCases& cases, const LabelTarget& core) {
  Necrosis most;
  for (const std::string& sample : r.scores.samples) {
    const CaseVolumes& v = cases.volumes(sample);
    Necrosis n{sample, {}, -1};
    for (const StudyResult& s : r.systems)
      n.dice.push_back(LabelPairs(cases.prediction(s.system, sample), v.truth).counts(core).dice());
    if (LabelPairs(v.truth, v.truth).counts(core).truth() == 0) continue;
    const auto [least, highest] = std::minmax_element(n.dice.begin(), n.dice.end());
    n.spread = *highest - *least;
    if (n.spread > most.spread) most = n;
  }
  return most;
}

std::string necrosis_pictures(const StudyResults& r, StudyCases& cases) {
  const LabelTarget core{"NETC", {1}};
  const Necrosis n = most_different_necrosis(r, cases, core);
  if (n.dice.empty()) return "<p>No held-out case has a necrotic core.</p>\n";
  const CaseVolumes& v = cases.volumes(n.sample);
  const Components cores = find_components(region_mask(v.truth, core));
  const Double3 place =
      std::max_element(cores.components.begin(), cores.components.end(), [](const auto& a, const auto& b) {
        return a.voxels < b.voxels;
      })->centre;
  const std::vector<ViewerLabel> labels = viewer_labels(brats_description("").labels);
  std::vector<Tint> all;
  std::vector<std::pair<Rgb, std::string>> colours;
  for (const ViewerLabel& label : labels) {
    all.push_back({share_of(v.truth, {label.name, {label.value}}, .6f), label.colour});
    colours.push_back({label.colour, "first picture: true " + label.name});
  }
  colours.push_back({kTruthColour, "thick line: true " + core.name});
  colours.push_back({kPredictionColour, "thin line: predicted " + core.name});
  const double field_mm = 2 * kCloseUp_mm;
  std::string out = figure(SlicePainter(v).close_up(place, field_mm, kCloseUpHeight, {0, {}, "", all}), "truth",
                           html::fixed(static_cast<double>(LabelPairs(v.truth, v.truth).counts(core).truth()) *
                                           v.grid.spacing_mm[0] * v.grid.spacing_mm[1] * v.grid.spacing_mm[2],
                                       0) +
                               " mm³ of it");
  for (size_t k = 0; k < r.systems.size(); ++k) {
    const CaseVolumes of_system = cases.predicted(r.systems[k].system, n.sample);
    out += figure(SlicePainter(of_system).close_up(place, field_mm, kCloseUpHeight, {0, {core}, ""}),
                  r.systems[k].system.name(), "Dice of it " + html::fixed(n.dice[k], 2));
  }
  return "<p>" + html::escape(n.sample) +
         ": the case in which systems differ most about the necrotic or non-enhancing core (figure 7 of the "
         "paper).</p>\n" +
         legend(colours) + "<div class=\"small\">\n" + out + "</div>\n";
}

}  // namespace

std::string missed_section(const StudyResults& r, StudyCases& cases) {
  std::vector<const StudyLesion*> missed;
  for (const StudyLesion& l : r.lesions)
    if (missed_by_any(l)) missed.push_back(&l);
  std::string out = "<h2>What was missed</h2>\n";
  if (r.lesions.empty()) return out + "<p>The held-out cases have no lesion.</p>\n";
  if (missed.empty()) return out + "<p>Every system found every lesion.</p>\n";
  const auto by_all = std::count_if(missed.begin(), missed.end(), [](const auto* l) { return finders(*l) == 0; });
  out += sentence("<p>", missed.size(), " of ", r.lesions.size(), " lesions were missed by at least one system, ",
                  by_all, " of them by all. The smallest first, in three planes; the line is the truth.</p>\n");
  if (cases.fault().empty()) out += thumbnails(missed, cases);
  out += missed_table(r, missed);
  return cases.fault().empty() ? out + or_note([&] { return tiny_figure(r, cases); }) : out;
}

std::string necrosis_section(const StudyResults& r, StudyCases& cases) {
  if (!cases.fault().empty()) return "";
  return "<h2>The necrotic core</h2>\n" + or_note([&] { return necrosis_pictures(r, cases); });
}

}  // namespace metvox
