// SPDX-License-Identifier: Apache-2.0
// The page's numbers: scores, tests, detection.
#include <algorithm>
#include <cmath>

#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/svg.h"
#include "segmentation/study/forest_plot.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

constexpr std::array<const char*, 3> kRegions{"et", "tc", "wt"};
constexpr std::array<const char*, 3> kRegionTitles{"Enhancing tumour (ET)", "Tumour core (TC)", "Whole tumour (WT)"};

std::string colour_of(Regime regime) { return regime_colour(name_of(regime)); }

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

int digits_of(const std::string& metric) {
  return metric.starts_with("Hausdorff") ? 2 : metric.starts_with("Specificity") ? 5 : 3;
}

std::string p_text(double p) {
  if (!std::isfinite(p)) return "–";
  return p < 0.0001 ? "< 0.0001" : html::fixed(p, 4);
}

// Models side by side, a place for each regime.
template <class Draw>
std::string by_model(const StudyResults& r, const svg::Plot::Labels& labels, const svg::Axis& y, const Draw& draw) {
  const auto& models = r.config.models;
  svg::Plot plot(labels, {-0.5, static_cast<double>(models.size()) - 0.5, 1}, y);
  for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) plot.legend(name_of(regime), colour_of(regime));
  for (size_t m = 0; m < models.size(); ++m) {
    plot.name_x(static_cast<double>(m), models[m].name);
    for (const Regime regime : {Regime::fine_tuned, Regime::scratch})
      if (const StudyResult* result = r.find(models[m].name, regime))
        draw(plot, static_cast<double>(m) + (regime == Regime::fine_tuned ? -0.2 : 0.2), *result);
  }
  return plot.svg();
}

std::string dice_figure(const StudyResults& r) {
  std::vector<double> ends{1};
  for (const StudyResult& result : r.systems)
    for (const char* region : kRegions) {
      const Descriptive& d = r.descriptive(result, std::string("DICE_") + region);
      ends.push_back(std::max(0.0, d.ci95.low));
      ends.push_back(d.mean);
    }
  svg::Axis y = svg::axis_over(ends, 5);
  y.high = 1;
  std::vector<std::string> plots;
  for (size_t k = 0; k < kRegions.size(); ++k) {
    const std::string metric = std::string("DICE_") + kRegions[k];
    plots.push_back(
        by_model(r, {kRegionTitles[k], "", "Dice"}, y, [&](svg::Plot& plot, double x, const StudyResult& s) {
          const Descriptive& d = r.descriptive(s, metric);
          plot.bar(x, 0.17, d.mean, colour_of(s.system.regime),
                   sentence(s.system.name(), ": ", html::fixed(d.mean, 3), " [", html::fixed(d.ci95.low, 3), ", ",
                            html::fixed(d.ci95.high, 3), "]"));
          plot.interval(x, 0.07, d.ci95.low, d.ci95.high);
        }));
  }
  return side_by_side(plots) +
         "<p class=\"soft\">Mean Dice and its 95 % BCa interval over the held-out cases (figure 1 of the paper). The "
         "axis need not begin at "
         "0.</p>\n";
}

std::string distance_figure(const StudyResults& r) {
  std::vector<std::string> plots;
  for (size_t k = 0; k < kRegions.size(); ++k) {
    const std::string metric = std::string("Hausdorff_") + kRegions[k];
    std::vector<double> all{0};
    for (const StudyResult& s : r.systems)
      for (double v : r.values(s, metric)) all.push_back(v);
    plots.push_back(by_model(r, {kRegionTitles[k], "", "HD95, mm"}, svg::axis_over(all, 5),
                             [&](svg::Plot& plot, double x, const StudyResult& s) {
                               plot.box(x, 0.15, r.values(s, metric), colour_of(s.system.regime));
                             }));
  }
  return side_by_side(plots) +
         "<p class=\"soft\">HD95 case by case (figure 2 of the paper): median, quartiles, whiskers to the last case "
         "within 1.5 quartile "
         "distances, circles beyond. Infinite distances (one mask empty) are not drawn; the table counts them.</p>\n";
}

// Mean ± standard deviation, [95 % interval], finite cases where not all are; of one case its number.
std::string mean_text(const Descriptive& d, int64_t cases) {
  const int digits = digits_of(d.metric);
  if (d.n == 0) return "no finite value";
  if (d.n == 1) return html::fixed(d.mean, digits) + " (n 1)";
  std::string text = html::fixed(d.mean, digits) + " ± " + html::fixed(d.std_population, digits) + " [" +
                     html::fixed(d.ci95.low, digits) + ", " + html::fixed(d.ci95.high, digits) + "]";
  return d.n == cases ? text : text + sentence(" (n ", d.n, ")");
}

std::string score_table(const StudyResults& r) {
  CsvTable table{{"Metric", "Model"}, {}};
  for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) table.columns.push_back(name_of(regime));
  for (const auto& [family, title] : {std::pair{"DICE", "Dice"},
                                      {"Hausdorff", "HD95"},
                                      {"Sensitivity", "Sensitivity"},
                                      {"Specificity", "Specificity"}})
    for (const char* region : kRegions)
      for (const StudyModel& m : r.config.models) {
        auto& row = table.rows.emplace_back();
        row = {sentence(title, " ", upper(region), title == std::string("HD95") ? ", mm" : ""), m.name};
        for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) {
          const StudyResult* s = r.find(m.name, regime);
          row.push_back(s ? mean_text(r.descriptive(*s, std::string(family) + "_" + region), r.paired.cases) : "–");
        }
      }
  return html::table(table);
}

// "HD95 TC, mm".
std::string metric_text(const std::string& metric) {
  const size_t cut = metric.find('_');
  const std::string family = metric.substr(0, cut), region = upper(metric.substr(cut + 1));
  return family == "Hausdorff" ? "HD95 " + region + ", mm" : (family == "DICE" ? "Dice" : family) + " " + region;
}

CsvTable tests_table(const StudyComparison& c, const std::string& comparison) {
  const bool paired = c.mode == CompareMode::paired;
  CsvTable table{{"Group", "Metric", "First", "Second", "First better", "p"}, {}};
  if (paired)
    for (const char* name : {"p Holm", "Difference [95 %]", "Could show (5 %, before Holm)"})
      table.columns.push_back(name);
  for (const PairTest& t : tests_of(c, comparison, "")) {
    const int digits = digits_of(t.metric);
    auto& row = table.rows.emplace_back();
    row = {group_text(t),
           metric_text(t.metric),
           html::fixed(t.mean_a, digits),
           html::fixed(t.mean_b, digits),
           sentence(t.a_better_cases, " of ", t.n_cases),
           p_text(t.result.p_value)};
    if (paired) {
      row.push_back(p_text(t.p_holm) + (t.p_holm < 0.05 ? " *" : ""));
      row.push_back(html::fixed(t.mean_difference, digits) + " [" + html::fixed(t.difference95.low, digits) + ", " +
                    html::fixed(t.difference95.high, digits) + "]");
      row.push_back(html::fixed(t.detectable_difference, digits));
    }
  }
  return table;
}

// Groups of as many tests that are adjusted together, and what they can say at all.
struct Reach {
  size_t tests = 0;
  double smallest = 0;              // p Holm
  std::vector<std::string> groups;  // empty: all tests are one group
};

std::string reach_text(const Reach& r) {
  std::string start = sentence(r.tests, " tests", r.groups.size() > 1 ? " each" : "", r.groups.empty() ? "" : " of ");
  for (size_t i = 0; i < r.groups.size(); ++i)
    start += (i == 0 ? "" : i + 1 == r.groups.size() ? " and " : ", ") + html::escape(r.groups[i]);
  if (r.smallest < 0.05) return "<li>" + start + ": p Holm can be as small as " + p_text(r.smallest) + ".</li>\n";
  return "<li><b>" + start + " cannot reach 0.05</b>, however large the differences: the smallest p Holm is " +
         p_text(r.smallest) + ".</li>\n";
}

// A line for all groups that can say as much; `by_group`: groups are adjusted on their own.
std::string reach_list(const StudyComparison& c, const std::string& comparison, bool by_group) {
  const std::vector<PairTest> all = tests_of(c, comparison, "");
  std::vector<Reach> list;
  if (!by_group) list.push_back({all.size(), smallest_p_holm(all), {}});
  std::string group;
  for (const PairTest& t : all) {
    if (!by_group || t.group == group) continue;
    group = t.group;
    const std::vector<PairTest> tests = tests_of(c, comparison, group);
    const double smallest = smallest_p_holm(tests);
    const auto like =
        std::ranges::find_if(list, [&](const Reach& r) { return r.tests == tests.size() && r.smallest == smallest; });
    Reach& r = like != list.end() ? *like : list.emplace_back(Reach{tests.size(), smallest, {}});
    r.groups.push_back(group_text(t));
  }
  std::string lines;
  for (const Reach& r : list) lines += reach_text(r);
  return sentence("<p>What ", counted(c.cases, "case"), " can show:</p>\n<ul>\n", lines, "</ul>\n");
}

std::string folded(const std::string& summary, const std::string& inside) {
  return "<details><summary>" + html::escape(summary) + "</summary>\n" + inside + "</details>\n";
}

std::string notes_text(const StudyComparison& c) {
  if (c.notes.empty()) return "";
  CsvTable table{{"System", "Metric", "Case", "Note"}, {}};
  for (const Note& n : c.notes) table.rows.push_back({n.system, n.metric, n.sample, n.text});
  return folded(sentence(c.notes.size(), " notes on numbers that are not defined or infinite"), html::table(table));
}

// "3 of 4 (0.75)".
std::string share(int64_t found, int64_t lesions) {
  if (lesions == 0) return "–";
  return sentence(found, " of ", lesions, " (") +
         html::fixed(static_cast<double>(found) / static_cast<double>(lesions), 2) + ")";
}

std::string range_text(const ReportNumbers::SizeBin& bin) {
  return std::isinf(bin.below_mm) ? sentence(bin.from_mm, "+ mm")
         : bin.from_mm == 0       ? sentence("< ", bin.below_mm, " mm")
                                  : sentence(bin.from_mm, "–", bin.below_mm, " mm");
}

std::string recall_figure(const StudyResults& r) {
  std::vector<std::string> plots;
  const auto& bins = r.systems.front().numbers.bins;
  for (const StudyModel& m : r.config.models) {
    svg::Plot plot({m.name, "lesion diameter", "recall"}, {-0.5, static_cast<double>(bins.size()) - 0.5, 1},
                   {0, 1, 0.2});
    for (size_t b = 0; b < bins.size(); ++b) plot.name_x(static_cast<double>(b), range_text(bins[b]));
    for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) {
      const StudyResult* s = r.find(m.name, regime);
      plot.legend(name_of(regime), colour_of(regime));
      for (size_t b = 0; s && b < bins.size(); ++b) {
        const auto& bin = s->numbers.bins[b];
        if (bin.lesions == 0) continue;
        const double x = static_cast<double>(b) + (regime == Regime::fine_tuned ? -0.18 : 0.18);
        const Interval i = wilson_interval(bin.found, bin.lesions);
        plot.bar(x, 0.16, static_cast<double>(bin.found) / static_cast<double>(bin.lesions), colour_of(regime),
                 s->system.name() + ": " + share(bin.found, bin.lesions));
        plot.interval(x, 0.06, i.low, i.high);
      }
    }
    plots.push_back(plot.svg());
  }
  return side_by_side(plots);
}

}  // namespace

std::string scores_section(const StudyResults& r) {
  return "<h2>Scores of the held-out cases</h2>\n" + dice_figure(r) + distance_figure(r) + score_table(r) +
         "<p class=\"soft\">Mean ± standard deviation (population) [95 % BCa interval]. Specificity depends on how "
         "much "
         "background an image has, so it compares with no other data set.</p>\n";
}

std::string tests_section(const StudyResults& r) {
  std::string out = "<h2>Does fine-tuning help?</h2>\n";
  const CsvTable regimes = tests_table(r.paired, "fine-tuned_vs_scratch"),
                 models = tests_table(r.paired, "architecture"), paper = tests_table(r.paper, "fine-tuned_vs_scratch"),
                 paper_models = tests_table(r.paper, "architecture");
  if (regimes.rows.empty()) return out + "<p>No model has been scored in both regimes.</p>\n" + notes_text(r.paired);
  out +=
      "<p>First: fine-tuned, second: scratch. Paired by case, Wilcoxon's signed-rank test (exact), one-sided in the "
      "direction in which the metric is better; Holm over the nine tests of a group; * p Holm below 0.05. Models' "
      "mean: the scores of all models averaged case by case. "
      "<b>Could show</b> (grey ticks in the figure): the true difference that one test of so many cases would have "
      "shown in 4 of 5 studies at the 5 % level, before Holm; after Holm it takes more. A p above 0.05 does not say "
      "that there is no difference.</p>\n" +
      reach_list(r.paired, "fine-tuned_vs_scratch", true) + "<div class=\"wide\">" + forest_plot(r.paired) +
      "</div>\n" + html::table(regimes);
  if (!models.rows.empty())
    out += "<h2>Which model?</h2>\n<p>Fine-tuned systems, " + html::escape(r.config.reference) +
           " first; two-sided, Holm over all rows.</p>\n" + reach_list(r.paired, "architecture", false) +
           html::table(models);
  out += folded(
      "As published: all models' cases behind each other, Mann-Whitney, \"greater\" for every metric, no "
      "correction",
      html::table(paper) + html::table(paper_models) +
          "<p class=\"soft\">This repeats the paper's analysis, and is no model of how to test: it asks whether "
          "distances are greater where less is better, and takes each case several times.</p>\n");
  return out + notes_text(r.paired);
}

std::string detection_section(const StudyResults& r) {
  CsvTable table{{"System"}, {}};
  for (const auto& bin : r.systems.front().numbers.bins) table.columns.push_back(range_text(bin));
  for (const char* name : {"All", "False a case"}) table.columns.push_back(name);
  for (const StudyResult& s : r.systems) {
    auto& row = table.rows.emplace_back(1, s.system.name());
    for (const auto& bin : s.numbers.bins) row.push_back(share(bin.found, bin.lesions));
    row.push_back(share(s.numbers.all.found, s.numbers.all.lesions));
    row.push_back(html::fixed(
        static_cast<double>(s.numbers.all.false_positives) / static_cast<double>(std::max<int64_t>(1, s.numbers.cases)),
        2));
  }
  const std::string title = "<h2>Lesions found, by size</h2>\n";
  if (r.lesions.empty())
    return title + "<p>The held-out cases have no lesion: there is none to find, and neither recall nor a FROC.</p>\n" +
           html::table(table);
  return title + recall_figure(r) + html::table(table) +
         "<p class=\"soft\">Whole-tumour scores hide missed tiny lesions. A lesion is a 26-connected component of the "
         "tumour core, found when one voxel of it was predicted; diameter of the ball of equal volume; intervals are "
         "Wilson's, 95 %.</p>\n";
}

}  // namespace metvox
