// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/forest_plot.h"

#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/svg.h"

namespace metvox {

namespace {

constexpr double kNames = 230, kPanel = 226, kGap = 44, kLine = 20, kTop = 64, kBottom = 54;
constexpr const char* kFamilies[]{"DICE", "Hausdorff", "Sensitivity"};
constexpr const char* kTitles[]{"Dice", "HD95 (mm)", "Sensitivity"};
constexpr const char *kSoft = "fill=\"#5d6878\"", *kBold = "font-weight=\"600\"", *kGrid = "stroke=\"#e2e6ec\"",
                     *kZero = "stroke=\"#5d6878\"", *kInterval = "stroke=\"#2f6fde\" stroke-width=\"2\"",
                     *kDetectable = "stroke=\"#9aa3af\" stroke-width=\"3\"", *kMiddle = " text-anchor=\"middle\"";

struct PanelAxis {
  svg::Axis scale;
  double left = 0;
  double at(double value) const { return left + kPanel * scale.share(value); }
};

bool drawn(const PairTest& t) { return std::isfinite(t.difference95.low) && std::isfinite(t.difference95.high); }

// Where the first is better by what so many cases could show; in both directions where the test looks at both.
std::vector<double> detectable_ends(const PairTest& t) {
  const double size = t.detectable_difference;
  if (!std::isfinite(size)) return {};
  if (t.alternative == Alternative::two_sided) return {-size, size};
  return {t.alternative == Alternative::less ? -size : size};
}

// From the least to the greatest of what is drawn, zero inside.
PanelAxis axis_of(const StudyComparison& c, size_t panel) {
  std::vector<double> ends{0};
  for (const PairTest& t : c.tests)
    if (t.metric.starts_with(kFamilies[panel]) && drawn(t)) {
      ends.push_back(t.difference95.low);
      ends.push_back(t.difference95.high);
      for (const double end : detectable_ends(t)) ends.push_back(end);
    }
  return {svg::axis_over(ends, 4), kNames + static_cast<double>(panel) * (kPanel + kGap)};
}

std::string frame(const PanelAxis& axis, size_t panel, double bottom) {
  std::string out = svg::text(axis.left, kTop - 22, kTitles[panel], std::string(kBold) + " font-size=\"14\"");
  const double step = axis.scale.step;
  for (double tick = axis.scale.low; tick < axis.scale.high + step / 2; tick += step) {
    const bool zero = std::abs(tick) < step / 2;
    out += svg::line(axis.at(tick), kTop - 8, axis.at(tick), bottom, zero ? kZero : kGrid);
    out += svg::text(axis.at(tick), bottom + 16, svg::tick_text(tick, step), kMiddle);
  }
  const bool lower = lower_is_better(kFamilies[panel]);
  return out + svg::text(axis.left + kPanel / 2, bottom + 36,
                         lower ? "\u2190 first is better" : "first is better \u2192", std::string(kSoft) + kMiddle);
}

std::string mark(const PairTest& t, const PanelAxis& axis, double y) {
  if (!drawn(t))
    return svg::text(axis.at(0) + 6, y + 4, sentence("not finite, see notes.csv (n ", t.n_cases, ")"), kSoft);
  std::string ticks;
  for (const double end : detectable_ends(t)) ticks += svg::line(axis.at(end), y - 6, axis.at(end), y + 6, kDetectable);
  return ticks + svg::line(axis.at(t.difference95.low), y, axis.at(t.difference95.high), y, kInterval) +
         sentence("<circle cx=\"", axis.at(t.mean_difference), "\" cy=\"", y,
                  "\" r=\"4\" stroke=\"#2f6fde\" stroke-width=\"1.5\" fill=\"", t.p_holm < 0.05 ? "#2f6fde" : "#fff",
                  "\"><title>",
                  html::escape(sentence(group_text(t), " ", t.metric, ": ", t.mean_difference, " [", t.difference95.low,
                                        ", ", t.difference95.high, "], p Holm ", t.p_holm, ", could show ",
                                        t.detectable_difference)),
                  "</title></circle>\n");
}

}  // namespace

std::string group_text(const PairTest& t) {
  if (t.group == "pooled") return t.test == "mann-whitney" ? "all models' cases" : "models' mean";
  std::string words = t.group;
  const size_t between = words.find("_vs_");
  if (t.comparison == "architecture" && between != std::string::npos) words.replace(between, 4, " vs ");
  return words;
}

std::string forest_plot(const StudyComparison& c) {
  PanelAxis axes[3];
  for (size_t panel = 0; panel < 3; ++panel) axes[panel] = axis_of(c, panel);
  std::string marks, group;
  double y = kTop - kLine;
  for (const PairTest& t : c.tests) {
    if (t.group != group) {
      y += kLine * (group.empty() ? 1 : 1.5);
      group = t.group;
      const bool models = t.comparison == "architecture";
      marks += svg::text(0, y + 4, group_text(t) + (models ? "" : ": fine-tuned vs scratch"), kBold);
    }
    // Within a group the regions stand below each other, in each panel.
    const size_t region = t.metric.ends_with("_et") ? 1 : t.metric.ends_with("_tc") ? 2 : 3;
    const auto panel = static_cast<size_t>(std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                                        [&](const char* f) { return t.metric.starts_with(f); }) -
                                           std::begin(kFamilies));
    const double here = y + kLine * static_cast<double>(region);
    if (panel == 0)
      marks += svg::text(kNames - 14, here + 4, region == 1 ? "ET" : region == 2 ? "TC" : "WT", "text-anchor=\"end\"");
    marks += mark(t, axes[panel], here);
    if (&t == &c.tests.back() || (&t + 1)->group != group) y += 3 * kLine;
  }
  const double bottom = y + kLine, width = kNames + 3 * kPanel + 2 * kGap + 20;
  std::string out = sentence("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-12 0 ", width + 12, " ",
                             bottom + kBottom, "\" width=\"", width + 12, "\" height=\"", bottom + kBottom,
                             "\" font-family=\"system-ui,sans-serif\" font-size=\"12\" fill=\"#1c2430\">\n");
  out += sentence("<rect x=\"-12\" width=\"", width + 12, "\" height=\"", bottom + kBottom, "\" fill=\"#fff\"/>\n");
  out += svg::text(0, 16,
                   sentence("Mean paired difference, 95 % BCa interval, ", c.cases,
                            " cases; filled: p Holm < 0.05; grey ticks: what so many could show, at 5 % before Holm"),
                   kSoft);
  for (size_t panel = 0; panel < 3; ++panel) out += frame(axes[panel], panel, bottom);
  return out + marks + "</svg>\n";
}

}  // namespace metvox
