// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

namespace metvox {
namespace {

using svg::Axis;

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

svg::Plot plot_of(const Axis& y) { return {{"a < b", "", ""}, {0, 4, 1}, y, 300, 200}; }

}  // namespace

TEST(svg, axes_end_on_round_steps) {
  const Axis a = svg::axis_over(0.13, 0.87, 5);
  EXPECT_DOUBLE_EQ(a.low, 0);
  EXPECT_DOUBLE_EQ(a.high, 1);
  EXPECT_DOUBLE_EQ(a.step, 0.2);
  EXPECT_DOUBLE_EQ(svg::axis_over({3, NAN, 17, INFINITY}, 5).high, 20);
  EXPECT_DOUBLE_EQ(svg::axis_over({NAN}, 5).high, 1);
  const Axis flat = svg::axis_over(5, 5, 4);
  EXPECT_LT(flat.low, 5);
  EXPECT_GT(flat.high, 5);
  EXPECT_EQ(svg::tick_text(1e-17, 0.2), "0.0");
  EXPECT_EQ(svg::tick_text(20, 5), "20");
}

TEST(svg, words_are_escaped_and_the_drawing_stands_alone) {
  const std::string text = plot_of({}).svg();
  EXPECT_EQ(count(text, "a &lt; b"), 2);
  EXPECT_EQ(text.find("a < b"), std::string::npos);
  EXPECT_EQ(count(text, "<svg"), 1);
  EXPECT_EQ(count(text, "http"), 1);  // the name space
}

TEST(svg, a_curve_breaks_where_a_value_is_not_finite) {
  svg::Plot plot = plot_of({});
  plot.curve({{0, 0.5}, {1, 0.5}, {2, NAN}, {3, 0.5}, {4, 0.5}}, "#000");
  std::smatch path;
  const std::string text = plot.svg();
  ASSERT_TRUE(std::regex_search(text, path, std::regex("<path d=\"([^\"]*)\"")));
  EXPECT_EQ(count(path[1], "M"), 2);
  EXPECT_EQ(count(path[1], "L"), 2);
}

TEST(svg, a_box_has_tukey_s_whiskers) {
  svg::Plot plot = plot_of({0, 100, 50});
  const int before = count(plot.svg(), "<line");
  plot.box(1, 0.2, {1, 2, 3, 4, 5, 100, INFINITY}, "#fff");
  const std::string text = plot.svg();
  EXPECT_EQ(count(text, "<circle"), 1);  // 100 lies beyond; infinity is not drawn
  EXPECT_EQ(count(text, "<rect"), 1);
  EXPECT_EQ(count(text, "<line") - before, 5);
}

TEST(svg, a_bar_of_nothing_is_a_dash) {
  svg::Plot plot = plot_of({});
  plot.bar(1, 0.2, NAN, "#fff", "none");
  EXPECT_EQ(count(plot.svg(), "<rect"), 0);
  EXPECT_EQ(count(plot.svg(), "–"), 1);
}

}  // namespace metvox
