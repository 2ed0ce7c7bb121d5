// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/moments.h"

namespace metvox::svg {

namespace {

constexpr const char *kInk = "#1c2430", *kSoft = "#5d6878", *kGrid = "#e2e6ec";

// Two decimals are a hundredth of a pixel.
std::string px(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string quoted(const char* name, const std::string& value) {
  return std::string(" ") + name + "=\"" + value + "\"";
}

std::string stroke(const std::string& colour, double width) {
  return quoted("fill", "none") + quoted("stroke", colour) + quoted("stroke-width", px(width));
}

}  // namespace

Axis axis_over(double low, double high, int ticks) {
  if (!(low <= high) || !std::isfinite(low) || !std::isfinite(high)) return {};
  if (high - low < 1e-12 * std::max(1.0, std::abs(high))) {
    const double room = std::max(std::abs(high) * 0.1, 1e-9);
    low -= room;
    high += room;
  }
  const double rough = (high - low) / ticks, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
  return {std::floor(low / step) * step, std::ceil(high / step) * step, step};
}

Axis axis_over(const std::vector<double>& values, int ticks) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (double v : values)
    if (std::isfinite(v)) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
  return axis_over(low, high, ticks);
}

std::string tick_text(double value, double step) {
  char text[32];
  const double least = std::abs(value) < step / 2 ? 0 : value;
  if (step < 1e-3) std::snprintf(text, sizeof text, least == 0 ? "0" : "%.2g", least);
  else
    std::snprintf(text, sizeof text, "%.*f", step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9)),
                  least);
  return text;
}

std::string text(double x, double y, const std::string& words, const std::string& attributes) {
  return "<text" + quoted("x", px(x)) + quoted("y", px(y)) + " " + attributes + ">" + html::escape(words) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return "<line" + quoted("x1", px(x1)) + quoted("y1", px(y1)) + quoted("x2", px(x2)) + quoted("y2", px(y2)) + " " +
         attributes + "/>\n";
}

Plot::Plot(const Labels& labels, const Axis& x, const Axis& y, double width, double height)
    : x_(x),
      y_(y),
      width_(width),
      height_(height),
      right_(width - 10),
      top_(46),
      bottom_(height - (labels.x.empty() ? 26 : 40)),
      legend_x_(left_),
      title_(labels.title) {
  body_ += text(left_, 16, labels.title, "font-weight=\"600\" font-size=\"13\"");
  for (double v = y.low; v <= y.high + y.step / 2; v += y.step) {
    body_ += line(left_, at_y(v), right_, at_y(v), quoted("stroke", kGrid));
    body_ += text(left_ - 6, at_y(v) + 4, tick_text(v, y.step), "text-anchor=\"end\"");
  }
  body_ += line(left_, bottom_, right_, bottom_, quoted("stroke", kSoft));
  if (!labels.x.empty())
    body_ += text((left_ + right_) / 2, height - 6, labels.x, "text-anchor=\"middle\"" + quoted("fill", kSoft));
  if (!labels.y.empty()) body_ += text(right_, 16, labels.y, "text-anchor=\"end\"" + quoted("fill", kSoft));
}

double Plot::at_y(double y) const { return bottom_ - std::clamp(y_.share(y), -0.02, 1.02) * (bottom_ - top_); }

void Plot::number_x() {
  for (double v = x_.low; v <= x_.high + x_.step / 2; v += x_.step) {
    body_ += line(at_x(v), bottom_, at_x(v), bottom_ + 4, quoted("stroke", kSoft));
    body_ += text(at_x(v), bottom_ + 16, tick_text(v, x_.step), "text-anchor=\"middle\"");
  }
}

void Plot::name_x(double x, const std::string& words) {
  body_ += text(at_x(x), bottom_ + 16, words, "text-anchor=\"middle\"");
}

void Plot::legend(const std::string& words, const std::string& colour) {
  body_ += line(legend_x_, 30, legend_x_ + 14, 30, stroke(colour, 3));
  body_ += text(legend_x_ + 19, 34, words, quoted("fill", kSoft));
  legend_x_ += 32 + 6.2 * static_cast<double>(words.size());
}

void Plot::curve(const std::vector<Point>& points, const std::string& colour, double width) {
  std::string path;
  bool down = false;
  size_t drawn = 0;
  for (const Point& p : points) {
    const bool finite = std::isfinite(p.x) && std::isfinite(p.y);
    if (finite) path += (down ? " L" : " M") + px(at_x(p.x)) + " " + px(at_y(p.y));
    down = finite;
    drawn += finite;
  }
  if (drawn == 1) {  // a line needs two
    for (const Point& p : points)
      if (std::isfinite(p.x) && std::isfinite(p.y)) point(p.x, p.y, colour, "");
  } else if (drawn > 1) {
    body_ += "<path" + quoted("d", path.substr(1)) + stroke(colour, width) + " stroke-linejoin=\"round\"/>\n";
  }
}

void Plot::bar(double x, double half, double y, const std::string& colour, const std::string& hint) {
  if (!std::isfinite(y)) return name_x(x, "–");
  body_ += "<rect" + quoted("x", px(at_x(x - half))) + quoted("y", px(at_y(y))) +
           quoted("width", px(at_x(x + half) - at_x(x - half))) +
           quoted("height", px(std::max(0.0, bottom_ - at_y(y)))) + quoted("fill", colour) + "><title>" +
           html::escape(hint) + "</title></rect>\n";
}

void Plot::interval(double x, double half, double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return;
  const std::string ink = quoted("stroke", kInk) + quoted("stroke-width", "1.2");
  body_ += line(at_x(x), at_y(low), at_x(x), at_y(high), ink);
  for (double end : {low, high}) body_ += line(at_x(x - half), at_y(end), at_x(x + half), at_y(end), ink);
}

void Plot::box(double x, double half, std::vector<double> values, const std::string& colour) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return;
  const double low = quantile(values, 0.25), middle = quantile(values, 0.5), high = quantile(values, 0.75),
               reach = 1.5 * (high - low);
  std::sort(values.begin(), values.end());
  const double first = *std::find_if(values.begin(), values.end(), [&](double v) { return v >= low - reach; }),
               last = *std::find_if(values.rbegin(), values.rend(), [&](double v) { return v <= high + reach; });
  const std::string ink = stroke(kInk, 1.2);
  body_ += line(at_x(x), at_y(first), at_x(x), at_y(low), ink) + line(at_x(x), at_y(high), at_x(x), at_y(last), ink);
  for (double end : {first, last}) body_ += line(at_x(x - half / 2), at_y(end), at_x(x + half / 2), at_y(end), ink);
  body_ += "<rect" + quoted("x", px(at_x(x - half))) + quoted("y", px(at_y(high))) +
           quoted("width", px(at_x(x + half) - at_x(x - half))) + quoted("height", px(at_y(low) - at_y(high))) +
           quoted("fill", colour) + quoted("stroke", kInk) + "/>\n";
  body_ += line(at_x(x - half), at_y(middle), at_x(x + half), at_y(middle), stroke(kInk, 2));
  for (double v : values)
    if (v < first || v > last)
      body_ += "<circle" + quoted("cx", px(at_x(x))) + quoted("cy", px(at_y(v))) + quoted("r", "3") + ink + "/>\n";
}

void Plot::point(double x, double y, const std::string& colour, const std::string& hint) {
  if (!std::isfinite(x) || !std::isfinite(y)) return;
  body_ += "<circle" + quoted("cx", px(at_x(x))) + quoted("cy", px(at_y(y))) + quoted("r", "3.2") +
           quoted("fill", colour) + "><title>" + html::escape(hint) + "</title></circle>\n";
}

std::string Plot::svg() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"" + quoted("aria-label", html::escape(title_)) +
         quoted("viewBox", "0 0 " + px(width_) + " " + px(height_)) + quoted("width", px(width_)) +
         quoted("height", px(height_)) +
         " style=\"max-width:100%;height:auto\" font-family=\"system-ui,sans-serif\" font-size=\"11\"" +
         quoted("fill", kInk) + ">\n" + body_ + "</svg>\n";
}

}  // namespace metvox::svg
