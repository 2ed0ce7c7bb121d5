// SPDX-License-Identifier: Apache-2.0
// progress.png: the panels of nnU-Net's chart, drawn on io/png.h's canvas.
#include <algorithm>
#include <cmath>
#include <functional>

#include "io/png.h"
#include "segmentation/evaluation/svg.h"
#include "segmentation/training/metrics_log.h"

namespace metvox {
namespace {

constexpr Rgb kBlue{31, 97, 180}, kRed{205, 50, 45}, kGreen{30, 140, 70}, kGrid{225, 228, 232}, kFrame{120, 125, 130},
    kInk{30, 33, 36};
constexpr int kWidth = 1300, kPanelHeight = 430, kLeft = 120, kRight = 110, kTop = 64, kBottom = 62, kText = 2,
              kTextHeight = 14;

struct Series {
  std::string label;
  Rgb colour;
  double dash_px;
  std::vector<double> values;
};

using svg::Axis;

Axis axis_of(const std::vector<Series>& all, int ticks) {
  std::vector<double> values;
  for (const Series& s : all) values.insert(values.end(), s.values.begin(), s.values.end());
  return svg::axis_over(values, ticks);
}

// The lower end, then the multiples of the step.
std::vector<double> ticks_of(const Axis& axis) {
  std::vector<double> all;
  for (double v = axis.low; v <= axis.high + axis.step * 1e-6; v = (std::floor(v / axis.step + 1e-6) + 1) * axis.step)
    all.push_back(v);
  return all;
}

// From the first epoch to the last; of a single one, room for a second.
Axis epoch_axis(size_t epochs) {
  const double last = std::max(2.0, static_cast<double>(epochs));
  return {1, last, std::max(svg::axis_over(1, last, 10).step, 1.0)};
}

class Panel {
 public:
  Panel(Picture& picture, int index, const std::string& title, Axis x)
      : picture_(picture), x_(x), top_(index * kPanelHeight + kTop), bottom_((index + 1) * kPanelHeight - kBottom) {
    picture_.text(kLeft, top_ - 40, title, kInk, kText);
    for (const double v : ticks_of(x_)) {
      const double px = at_x(v);
      picture_.line(px, top_, px, bottom_, kGrid);
      centred(svg::tick_text(v, x_.step), static_cast<int>(px), bottom_ + 10);
    }
    centred("epoch", (kLeft + kWidth - kRight) / 2, bottom_ + 34);
  }

  // Curves against an axis on the left, or on the right without grid lines.
  void draw(const std::vector<Series>& all, const Axis& y, bool on_right) {
    for (const double v : ticks_of(y)) {
      const double py = at_y(v, y);
      const std::string text = svg::tick_text(v, y.step);
      if (!on_right) picture_.line(kLeft, py, kWidth - kRight, py, kGrid);
      picture_.text(on_right ? kWidth - kRight + 12 : kLeft - 12 - Picture::text_width(text, kText),
                    static_cast<int>(py) - kTextHeight / 2, text, kInk, kText);
    }
    for (const Series& s : all) {
      curve(s, y);
      legend(s);
    }
    frame();
  }

 private:
  double at_x(double v) const { return kLeft + x_.share(v) * (kWidth - kRight - kLeft); }
  double at_y(double v, const Axis& y) const { return bottom_ - y.share(v) * (bottom_ - top_); }
  void centred(const std::string& text, int x, int y) {
    picture_.text(x - Picture::text_width(text, kText) / 2, y, text, kInk, kText);
  }
  void curve(const Series& s, const Axis& y) {
    for (size_t i = 0; i < s.values.size(); ++i) {
      if (!std::isfinite(s.values[i])) continue;
      const double epoch = static_cast<double>(i + 1), px = at_x(epoch), py = at_y(s.values[i], y);
      if (s.values.size() <= 40)
        picture_.fill_rectangle(static_cast<int>(px) - 2, static_cast<int>(py) - 2, 5, 5, s.colour);
      if (i > 0 && std::isfinite(s.values[i - 1]))
        picture_.line(at_x(epoch - 1), at_y(s.values[i - 1], y), px, py, s.colour, 2.5, s.dash_px);
    }
  }
  void legend(const Series& s) {
    legend_x_ -= Picture::text_width(s.label, kText) + 70;
    picture_.line(legend_x_, top_ - 33, legend_x_ + 40, top_ - 33, s.colour, 3, s.dash_px);
    picture_.text(legend_x_ + 48, top_ - 40, s.label, kInk, kText);
  }
  void frame() {
    const double left = kLeft, right = kWidth - kRight, top = top_, bottom = bottom_;
    picture_.line(left, top, right, top, kFrame);
    picture_.line(left, bottom, right, bottom, kFrame);
    picture_.line(left, top, left, bottom, kFrame);
    picture_.line(right, top, right, bottom, kFrame);
  }

  Picture& picture_;
  Axis x_;
  int top_, bottom_, legend_x_ = kWidth - kRight + 22;
};

template <class Field>
std::vector<double> column(const std::vector<EpochRecord>& history, Field field) {
  std::vector<double> values;
  for (const EpochRecord& r : history) values.push_back(std::invoke(field, r));
  return values;
}

}  // namespace

void write_progress_chart(const Path& path, const std::vector<EpochRecord>& history) {
  Picture picture(kWidth, 3 * kPanelHeight);
  const Axis x = epoch_axis(history.size());
  const std::vector<Series> losses{{"validation loss", kRed, 0, column(history, &EpochRecord::val_loss)},
                                   {"training loss", kBlue, 0, column(history, &EpochRecord::train_loss)}};
  const std::vector<Series> dice{{"moving average", kGreen, 0, column(history, &EpochRecord::ema_dice)},
                                 {"pseudo-Dice", kGreen, 3, column(history, &EpochRecord::mean_dice)}};
  Panel top(picture, 0, "loss (left), pseudo-Dice (right)", x);
  top.draw(losses, axis_of(losses, 6), false);
  top.draw(dice, {0, 1, 0.2}, true);
  std::vector<Series> time{
      {"seconds an epoch", kBlue, 0, column(history, [](const EpochRecord& r) { return r.times.seconds; })}};
  Axis seconds = axis_of(time, 6);
  seconds = svg::axis_over(0, seconds.high, 6);
  Panel(picture, 1, "time", x).draw(time, seconds, false);
  const std::vector<Series> rate{{"learning rate", kBlue, 0, column(history, &EpochRecord::lr)}};
  Axis lr = axis_of(rate, 6);
  lr = svg::axis_over(0, lr.high, 6);
  Panel(picture, 2, "learning rate", x).draw(rate, lr, false);
  write_png(path, picture);
}

}  // namespace metvox
