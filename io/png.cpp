// SPDX-License-Identifier: Apache-2.0
#include "io/png.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "io/font.h"
#include "tensor/error.h"

namespace metvox {

Picture::Picture(int w, int h, Rgb fill) : width(w), height(h) {
  check(w >= 0 && h >= 0, "Picture: ", w, 'x', h, " pixels");
  rgb.resize(size_t{3} * static_cast<size_t>(w) * static_cast<size_t>(h));
  fill_rectangle(0, 0, w, h, fill);
}

void Picture::fill_rectangle(int x, int y, int w, int h, Rgb c) {
  for (int v = std::max(0, y); v < std::min(height, y + h); ++v)
    for (int u = std::max(0, x); u < std::min(width, x + w); ++u) set(u, v, c);
}

void Picture::paste(const Picture& other, int x, int y) {
  for (int v = 0; v < other.height; ++v)
    for (int u = 0; u < other.width; ++u) set(x + u, y + v, other.at(u, v));
}

void Picture::line(double x0, double y0, double x1, double y1, Rgb c, double width_px, double dash_px) {
  if (!std::isfinite(x0 + y0 + x1 + y1)) return;
  const double half = width_px / 2, reach = half + 1;
  const auto clip = [](double value, int end) { return static_cast<int>(std::clamp(value, 0.0, end - 1.0)); };
  if (width == 0 || height == 0) return;
  const double dx = x1 - x0, dy = y1 - y0, length = std::hypot(dx, dy);
  const int left = clip(std::min(x0, x1) - reach, width), right = clip(std::max(x0, x1) + reach, width);
  const int top = clip(std::min(y0, y1) - reach, height), bottom = clip(std::max(y0, y1) + reach, height);
  for (int y = top; y <= bottom; ++y)
    for (int x = left; x <= right; ++x) {
      // The part of the pixel that the line covers, from the distance of its centre to the segment.
      const double along = length > 0 ? std::clamp(((x - x0) * dx + (y - y0) * dy) / length, 0.0, length) : 0;
      if (dash_px > 0 && std::fmod(along, 2 * dash_px) >= dash_px) continue;
      const double t = length > 0 ? along / length : 0;
      const double cover = std::clamp(half + 0.5 - std::hypot(x - x0 - t * dx, y - y0 - t * dy), 0.0, 1.0);
      if (cover == 0) continue;
      Rgb mixed = at(x, y);
      for (size_t k = 0; k < 3; ++k) mixed[k] = static_cast<uint8_t>(std::lround(mixed[k] + cover * (c[k] - mixed[k])));
      set(x, y, mixed);
    }
}

void Picture::text(int x, int y, const std::string& s, Rgb c, int scale) {
  for (const Glyph& glyph : glyphs(s)) {
    for (int row = 0; row < glyph.height; ++row)
      for (int column = 0; column < glyph.width; ++column)
        if (glyph.inked(column, row)) fill_rectangle(x + column * scale, y + row * scale, scale, scale, c);
    x += (glyph.width + 1) * scale;
  }
}

int Picture::text_width(const std::string& s, int scale) {
  int width = 0;
  for (const Glyph& glyph : glyphs(s)) width += glyph.width + 1;
  return std::max(0, width - 1) * scale;
}

Bytes encode_png(const Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = PNG_FORMAT_RGB;
  Bytes bytes(PNG_IMAGE_PNG_SIZE_MAX(image));
  png_alloc_size_t size = bytes.size();
  const bool done = png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.rgb.data(), 0, nullptr);
  check(done, "encode_png: ", picture.width, 'x', picture.height, ": ", image.message);
  bytes.resize(size);
  return bytes;
}

void write_png(const Path& path, const Picture& picture) { write_bytes(path, encode_png(picture)); }

Picture read_png(const Path& path) {
  const Bytes bytes = read_bytes(path);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()))
    fail(Fault::input, path.string(), ": is not a PNG file: ", image.message);
  image.format = PNG_FORMAT_RGB;
  // Deflate makes at most 1032 bytes of one, and a byte holds at most eight pixels.
  if (uint64_t{image.width} * image.height > bytes.size() * uint64_t{1032 * 8}) {
    png_image_free(&image);
    fail(Fault::input, path.string(), ": promises ", image.width, 'x', image.height, " pixels, which ", bytes.size(),
         " bytes cannot hold");
  }
  Picture picture(static_cast<int>(image.width), static_cast<int>(image.height));
  const png_color paper{255, 255, 255};  // behind transparent pixels
  if (!png_image_finish_read(&image, &paper, picture.rgb.data(), 0, nullptr))
    fail(Fault::input, path.string(), ": is a damaged PNG file: ", image.message);
  return picture;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t n = 0; n < bytes.size(); n += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - n);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < have ? std::to_integer<uint32_t>(bytes[n + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += k <= have ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace metvox
