// SPDX-License-Identifier: Apache-2.0
// 8-bit RGB pictures to and from PNG (libpng), and a small canvas to draw charts and labels on.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/files.h"

namespace metvox {

using Rgb = std::array<uint8_t, 3>;

struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // row by row from the top, 3 bytes a pixel
  Picture() = default;
  Picture(int w, int h, Rgb fill = {255, 255, 255});
  void set(int x, int y, Rgb c) {
    if (x >= 0 && y >= 0 && x < width && y < height)
      for (int k = 0; k < 3; ++k) rgb[static_cast<size_t>((y * width + x) * 3 + k)] = c[k];
  }
  Rgb at(int x, int y) const {
    const size_t i = static_cast<size_t>((y * width + x) * 3);
    return {rgb[i], rgb[i + 1], rgb[i + 2]};
  }
  void paste(const Picture& other, int x, int y);
  // Anti-aliased line, `width_px` thick; dash_px 0 is solid.
  void line(double x0, double y0, double x1, double y1, Rgb c, double width_px = 1, double dash_px = 0);
  void fill_rectangle(int x, int y, int w, int h, Rgb c);
  // Text in a built-in proportional-looking bitmap face of the printable ASCII characters; scale 1 is 7 px high
  // capitals.
  void text(int x, int y, const std::string& s, Rgb c, int scale = 1);
  static int text_width(const std::string& s, int scale = 1);
};

void write_png(const Path& path, const Picture& picture);
Bytes encode_png(const Picture& picture);
Picture read_png(const Path& path);
std::string base64(std::span<const std::byte> bytes);

}  // namespace metvox
