// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/forest_plot.h"

#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/html.h"

namespace metvox {

namespace {

constexpr double kNames = 230, kPanel = 250, kGap = 46, kLine = 20, kTop = 64, kBottom = 54;
constexpr const char* kFamilies[]{"DICE", "Hausdorff", "Sensitivity"};
constexpr const char* kTitles[]{"Dice", "HD95 (mm)", "Sensitivity"};

struct Axis {
  double low = 0, high = 0, step = 1, left = 0;
  double at(double value) const { return left + kPanel * (value - low) / (high - low); }
};

bool drawn(const PairTest& t) { return std::isfinite(t.difference95.low) && std::isfinite(t.difference95.high); }

// From the least to the greatest end of an interval, zero inside, widened to whole steps of 1, 2 or 5.
Axis axis_of(const StudyComparison& c, size_t panel) {
  Axis axis;
  for (const PairTest& t : c.tests)
    if (t.metric.starts_with(kFamilies[panel]) && drawn(t)) {
      axis.low = std::min(axis.low, t.difference95.low);
      axis.high = std::max(axis.high, t.difference95.high);
    }
  const double rough = std::max(axis.high - axis.low, 1e-6) / 4, power = std::pow(10, std::floor(std::log10(rough)));
  axis.step = power * (rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
  axis.low = axis.step * std::floor(axis.low / axis.step);
  axis.high = axis.step * std::max(std::ceil(axis.high / axis.step), axis.low / axis.step + 1);
  axis.left = kNames + static_cast<double>(panel) * (kPanel + kGap);
  return axis;
}

std::string text(double x, double y, const std::string& words, const std::string& attributes = "") {
  return sentence("<text x=\"", x, "\" y=\"", y, "\" ", attributes, ">", html::escape(words), "</text>\n");
}
std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return sentence("<line x1=\"", x1, "\" y1=\"", y1, "\" x2=\"", x2, "\" y2=\"", y2, "\" class=\"", style, "\"/>\n");
}

std::string frame(const Axis& axis, size_t panel, double bottom) {
  std::string out = text(axis.left, kTop - 22, kTitles[panel], "class=\"title\"");
  for (double tick = axis.low; tick < axis.high + axis.step / 2; tick += axis.step) {
    const double value = std::abs(tick) < axis.step / 2 ? 0 : tick;
    out += line(axis.at(value), kTop - 8, axis.at(value), bottom, value == 0 ? "zero" : "grid");
    out += text(axis.at(value), bottom + 16, sentence(value), "text-anchor=\"middle\"");
  }
  const bool lower = lower_is_better(kFamilies[panel]);
  return out + text(axis.left + kPanel / 2, bottom + 36, lower ? "\u2190 first is better" : "first is better \u2192",
                    "text-anchor=\"middle\" class=\"soft\"");
}

std::string mark(const PairTest& t, const Axis& axis, double y) {
  if (!drawn(t))
    return text(axis.at(0) + 6, y + 4, sentence("not finite, see notes.csv (n ", t.n_cases, ")"), "class=\"soft\"");
  return line(axis.at(t.difference95.low), y, axis.at(t.difference95.high), y, "interval") +
         sentence("<circle cx=\"", axis.at(t.mean_difference), "\" cy=\"", y, "\" r=\"4\" class=\"",
                  t.p_holm < 0.05 ? "shown" : "open", "\"><title>",
                  html::escape(sentence(t.group, " ", t.metric, ": ", t.mean_difference, " [", t.difference95.low, ", ",
                                        t.difference95.high, "], p Holm ", t.p_holm)),
                  "</title></circle>\n");
}

}  // namespace

std::string forest_plot(const StudyComparison& c) {
  Axis axes[3];
  for (size_t panel = 0; panel < 3; ++panel) axes[panel] = axis_of(c, panel);
  std::string marks, group;
  double y = kTop - kLine;
  for (const PairTest& t : c.tests) {
    if (t.group != group) {
      y += kLine * (group.empty() ? 1 : 1.5);
      group = t.group;
      marks += text(0, y + 4, t.comparison == "architecture" ? t.group : t.group + ": fine-tuned vs scratch",
                    "class=\"group\"");
    }
    // Within a group the regions stand below each other, in each panel.
    const size_t region = t.metric.ends_with("_et") ? 1 : t.metric.ends_with("_tc") ? 2 : 3;
    const auto panel = static_cast<size_t>(std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                                        [&](const char* f) { return t.metric.starts_with(f); }) -
                                           std::begin(kFamilies));
    const double here = y + kLine * static_cast<double>(region);
    if (panel == 0)
      marks += text(kNames - 14, here + 4, region == 1 ? "ET" : region == 2 ? "TC" : "WT", "text-anchor=\"end\"");
    marks += mark(t, axes[panel], here);
    if (&t == &c.tests.back() || (&t + 1)->group != group) y += 3 * kLine;
  }
  const double bottom = y + kLine, width = kNames + 3 * kPanel + 2 * kGap + 20;
  std::string out = sentence("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-12 0 ", width + 12, " ",
                             bottom + kBottom, "\" width=\"", width + 12, "\" height=\"", bottom + kBottom, "\">\n");
  out +=
      "<style>text{font:12px system-ui,sans-serif;fill:#1c2430}.title{font-weight:600;font-size:14px}"
      ".group{font-weight:600}.soft{fill:#5d6878}.grid{stroke:#e2e6ec}.zero{stroke:#5d6878}"
      ".interval{stroke:#2f6fde;stroke-width:2}.shown{fill:#2f6fde;stroke:#2f6fde;stroke-width:1.5}"
      ".open{fill:#fff;stroke:#2f6fde;stroke-width:1.5}</style>\n";
  out += sentence("<rect x=\"-12\" width=\"", width + 12, "\" height=\"", bottom + kBottom, "\" fill=\"#fff\"/>\n");
  out += text(0, 16, sentence("Mean paired difference, 95 % BCa interval, ", c.cases, " cases; filled: p Holm < 0.05"),
              "class=\"soft\"");
  for (size_t panel = 0; panel < 3; ++panel) out += frame(axes[panel], panel, bottom);
  return out + marks + "</svg>\n";
}

}  // namespace metvox
