// SPDX-License-Identifier: Apache-2.0
// Plots as SVG for a page: one panel with axes each, so that a page may lay several beside or below each other. No
// outside references, no shared styles.
#pragma once
#include <string>
#include <vector>

namespace metvox::svg {

struct Axis {
  double low = 0, high = 1, step = 0.2;
  double share(double value) const { return (value - low) / (high - low); }
};
// Limits on multiples of a step of 1, 2 or 5 times a power of ten, with about `ticks` steps between them. Not a range
// (NaN, low above high): 0 to 1.
Axis axis_over(double low, double high, int ticks);
// The same over the finite ones of some numbers.
Axis axis_over(const std::vector<double>& values, int ticks);
std::string tick_text(double value, double step);

// Elements; `attributes` as they stand in the tag. Words are escaped.
std::string text(double x, double y, const std::string& words, const std::string& attributes = "");
std::string line(double x1, double y1, double x2, double y2, const std::string& attributes);

struct Point {
  double x = 0, y = 0;
};

class Plot {
 public:
  struct Labels {
    std::string title, x, y;  // any may be empty
  };
  // Draws the frame and the grid of y. Width and height in pixels of the whole.
  Plot(const Labels& labels, const Axis& x, const Axis& y, double width = 330, double height = 250);

  void number_x();                                                   // ticks of x
  void name_x(double x, const std::string& words);                   // a word below x
  void legend(const std::string& words, const std::string& colour);  // above the panel, one after the other
  // Values that are not finite break the curve.
  void curve(const std::vector<Point>& points, const std::string& colour, double width = 1.5);
  // From y's lowest value; `half` to either side of x, in x's units.
  void bar(double x, double half, double y, const std::string& colour, const std::string& hint);
  void interval(double x, double half, double low, double high);  // a line with caps
  // Tukey's: quartiles, whiskers to the last value within 1.5 of their distance, circles beyond.
  void box(double x, double half, std::vector<double> values, const std::string& colour);
  void point(double x, double y, const std::string& colour, const std::string& hint);
  std::string svg() const;

 private:
  double at_x(double x) const { return left_ + x_.share(x) * (right_ - left_); }
  double at_y(double y) const;
  Axis x_, y_;
  double width_, height_, left_ = 46, right_, top_, bottom_, legend_x_;
  std::string title_, body_{};
};

}  // namespace metvox::svg
