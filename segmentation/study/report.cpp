// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/study/report_pictures.h"

namespace metvox {
namespace {

std::string tile(const std::string& number, const std::string& what) {
  return "<div class=\"tile\"><b>" + html::escape(number) + "</b><span>" + html::escape(what) + "</span></div>\n";
}

bool has_phantoms(const StudyConfig& c) {
  return c.public_data.phantom || c.private_data.phantom || c.held_out.phantom;
}

// "+0.012", "−0.012"; "0.000" without a sign.
std::string signed_text(double value, int digits) {
  const std::string text = html::fixed(value, digits);
  return value > 0 && text.find_first_of("123456789") != std::string::npos ? "+" + text : text;
}

// Of the models' mean, case by case.
std::string tiles(const StudyResults& r) {
  std::string out;
  for (const PairTest& t : r.paired.tests) {
    const bool dice = t.metric.starts_with("DICE_"), distance = t.metric == "Hausdorff_tc";
    if (t.comparison != "fine-tuned_vs_scratch" || t.group != "pooled" || !(dice || distance)) continue;
    const std::string region = t.metric.substr(t.metric.size() - 2);
    out += tile(signed_text(t.mean_difference, dice ? 3 : 2),
                sentence(dice ? "Dice " : "HD95 ",
                         region == "et"   ? "ET"
                         : region == "tc" ? "TC"
                                          : "WT",
                         dice ? "" : " in mm", ", fine-tuned minus scratch (p Holm ", html::fixed(t.p_holm, 3), ")"));
  }
  return out.empty() ? "" : "<div class=\"tiles\">\n" + out + "</div>\n";
}

std::string summary(const StudyResults& r) {
  const std::vector<PairTest> pooled = tests_of(r.paired, "fine-tuned_vs_scratch", "pooled");
  const auto tests = std::count_if(pooled.begin(), pooled.end(), [](const PairTest&t) { return t.n_cases > 0; }),
             better = std::count_if(pooled.begin(), pooled.end(), [](const PairTest&t) { return t.p_holm < 0.05; });
  if (tests == 0) return "";
  const double least = smallest_p_holm(pooled);
  return sentence("<p>Over the models' mean, fine-tuned systems were better than those trained from scratch in ",
                  better, " of ", tests, " tests (p Holm below 0.05, ", counted(r.paired.cases, "case"),
                  "). Where a test shows nothing, that is no proof of nothing: what so many cases could have shown "
                  "stands beside each. The smallest p Holm that they can give is ",
                  html::fixed(least, 4), least < 0.05 ? "" : ": no difference, however large, could be shown",
                  ".</p>\n");
}

// What jobs left out, in their own words.
std::string partial_note(const StudyResults& r) {
  std::string jobs;
  for (const Job& job : study_jobs(r.config, {}))
    if (std::filesystem::exists(r.study / study_paths::partial(job.name)))
      jobs += (jobs.empty() ? "" : ", ") + html::escape(job.name);
  std::set<std::string> faults;
  for (const StudyResult& result : r.systems)
    for (const Json& fault :
         result.overview.is_object() ? result.overview.value("not_evaluated", Json::array()) : Json())
      if (fault.is_string()) faults.insert(fault.get<std::string>());
  if (jobs.empty() && faults.empty()) return "";
  std::string out = "<div class=\"note\"><b>Cases are left out.</b> ";
  if (!jobs.empty()) out += "These jobs could not do all of theirs, as jobs/NAME.log says: " + jobs + ". ";
  out += sentence("All numbers are of the ", counted(r.paired.cases, "held-out case"), " that every system has.");
  if (!faults.empty()) out += "<ul>";
  for (const std::string& fault : faults) out += "<li>" + html::escape(fault) + "</li>";
  return out + (faults.empty() ? "" : "</ul>") + "</div>\n";
}

std::string headline(const StudyResults& r) {
  const StudyConfig& c = r.config;
  std::string out = sentence("<h1>Does pre-training on public data help?</h1>\n<p class=\"soft\">", c.models.size(),
                             " models, each pre-trained on a public set and fine-tuned on a small private one, and "
                             "trained on the private one from scratch; ",
                             c.folds.size(), c.folds.size() == 1 ? " fold, " : " folds each, ",
                             counted(r.paired.cases, "held-out case"), ".</p>\n");
  if (has_phantoms(c))
    out +=
        "<p class=\"note\"><b>Phantoms are not patients.</b> Data of this study is synthetic; its numbers say that the "
        "program works, and nothing about patients or about transfer learning on real scans.</p>\n";
  out += partial_note(r);
  if (!r.missing.empty()) {
    std::string names;
    for (const std::string& name : r.missing) names += (names.empty() ? "" : ", ") + html::escape(name);
    out += "<p class=\"note\"><b>Not complete.</b> No scores yet of " + names + ".</p>\n";
  }
  return out + summary(r) + tiles(r);
}

}  // namespace

std::vector<PairTest> tests_of(const StudyComparison& c, const std::string& comparison, const std::string& group) {
  std::vector<PairTest> out;
  for (const PairTest& t : c.tests)
    if (t.comparison == comparison && (group.empty() || t.group == group)) out.push_back(t);
  return out;
}

double smallest_p_holm(const std::vector<PairTest>& tests) {
  if (tests.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double least = std::min_element(tests.begin(), tests.end(), [](const PairTest& a, const PairTest& b) {
                         return a.smallest_p < b.smallest_p;
                       })->smallest_p;
  return std::min(1.0, static_cast<double>(tests.size()) * least);
}

std::string regime_colour(const std::string& regime) {
  return regime == "fine-tuned" ? "#2f6fde" : regime == "scratch" ? "#e08a2b" : "#6b7686";
}

std::string side_by_side(const std::vector<std::string>& plots) {
  std::string out = "<div style=\"display:flex;flex-wrap:wrap;gap:10px 14px\">\n";
  for (const std::string& plot : plots) out += plot;
  return out + "</div>\n";
}

double number_at(const Json& json, const std::string& pointer) {
  const Json::json_pointer place(pointer);
  return json.contains(place) && json[place].is_number() ? json[place].get<double>()
                                                         : std::numeric_limits<double>::quiet_NaN();
}

std::vector<svg::Point> points_at(const Json& json, const std::string& list, const std::string& x,
                                  const std::string& y) {
  std::vector<svg::Point> points;
  const Json::json_pointer place(list);
  if (!json.contains(place)) return points;
  for (const Json& entry : json[place]) {
    const svg::Point p{number_at(entry, x), number_at(entry, y)};
    if (std::isfinite(p.x) && std::isfinite(p.y)) points.push_back(p);
  }
  return points;
}

void write_study_report(const StudyConfig& config, const Path& study) {
  const StudyResults r = read_study_results(config, study);
  StudyCases cases(config, study);
  const std::string pictures =
      cases.fault().empty() ? "" : "<p class=\"note\">No pictures: " + html::escape(cases.fault()) + "</p>\n";
  const std::string page =
      html::page_begin("metvox study") + headline(r) + scores_section(r) + tests_section(r) + detection_section(r) +
      lesionwise_section(r) + calibration_section(r) + pictures + missed_section(r, cases) +
      necrosis_section(r, cases) + cases_section(r, cases) + experts_section(r) + learning_section(r) +
      making_section(r) +
      "<footer>metvox " METVOX_VERSION
      ". The design follows Luu et al. 2024, Transfer Learning Approaches for Brain Metastases "
      "Screenings. For research. This is not a medical device and must not be used for diagnosis or "
      "treatment.</footer>\n" +
      html::page_end();
  make_folder(study / "report");
  write_text(study / "report" / "index.html", page);
}

}  // namespace metvox
