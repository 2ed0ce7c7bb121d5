// SPDX-License-Identifier: Apache-2.0
#include "io/png.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "io_testing.h"

namespace metvox {
namespace {

const Rgb kBlack{0, 0, 0}, kWhite{255, 255, 255}, kRed{200, 10, 30};

// Ink of a white picture, in black pixels.
double ink(const Picture& p) {
  double sum = 0;
  for (uint8_t v : p.rgb) sum += 255 - v;
  return sum / (3 * 255);
}

}  // namespace

TEST(png, pictures_come_back) {
  Scratch scratch;
  Picture p(37, 21, kRed);
  for (int x = 0; x < 37; ++x) p.set(x, x % 21, {static_cast<uint8_t>(x * 5), 1, 2});
  write_png(scratch / "a.png", p);
  const Picture back = read_png(scratch / "a.png");
  EXPECT_EQ(back.width, 37);
  EXPECT_EQ(back.height, 21);
  EXPECT_EQ(back.rgb, p.rgb);
}

TEST(png, refuses_what_is_no_png) {
  Scratch scratch;
  write_text(scratch / "a.png", "not a picture");
  EXPECT_TRUE(refused([&] { read_png(scratch / "a.png"); }, "is not a PNG file"));
  Bytes bytes = encode_png(Picture(64, 64, kRed));
  bytes.resize(bytes.size() / 2);
  write_bytes(scratch / "a.png", bytes);
  EXPECT_TRUE(refused([&] { read_png(scratch / "a.png"); }, "PNG file"));
}

TEST(png, drawing_outside_is_clipped) {
  Picture p(10, 10);
  p.fill_rectangle(-5, -5, 7, 7, kRed);
  p.paste(Picture(4, 4, kBlack), 8, 8);
  p.set(-1, 3, kBlack);
  p.text(7, 7, "W", kBlack, 3);
  p.line(-1e9, 5, 1e9, 5, kRed);
  p.line(NAN, 0, 5, 5, kBlack);
  EXPECT_EQ(p.at(1, 1), kRed);
  EXPECT_EQ(p.at(2, 2), kWhite);
  EXPECT_EQ(p.at(9, 9), kBlack);
  EXPECT_EQ(p.at(0, 5), kRed);
  EXPECT_EQ(p.at(0, 4), kWhite);
}

// A line inks its length times its width, at every slope, up to the two round ends; coverage by distance is off by at
// most an eighth of a pixel across (a line of width 1 at 45 degrees).
TEST(png, lines_have_their_width) {
  for (double width_px : {1.0, 2.0, 4.0})
    for (double angle : {0.0, 0.3, 0.785, 1.2}) {
      Picture p(100, 100);
      p.line(10, 10, 10 + 80 * std::cos(angle), 10 + 80 * std::sin(angle), kBlack, width_px);
      EXPECT_NEAR(ink(p), 80 * width_px, 2 * width_px * width_px + 80.0 / 8) << width_px << ' ' << angle;
    }
  Picture dashed(100, 10);
  dashed.line(0, 5, 99, 5, kBlack, 1, 5);
  EXPECT_EQ(ink(dashed), 50);
}

TEST(png, every_character_is_drawn_and_no_two_alike) {
  std::set<std::vector<uint8_t>> seen;
  for (char c = ' '; c <= '~'; ++c) {
    Picture p(12, 12);
    p.text(1, 1, std::string(1, c), kBlack);
    EXPECT_TRUE(seen.insert(p.rgb).second) << c;
    for (int y = 0; y < 12; ++y) EXPECT_EQ(p.at(1 + Picture::text_width(std::string(1, c)), y), kWhite) << c;
  }
}

TEST(png, text_width_is_what_is_drawn) {
  EXPECT_EQ(Picture::text_width(""), 0);
  EXPECT_EQ(Picture::text_width("A"), 5);
  EXPECT_EQ(Picture::text_width("AI", 2), (5 + 1 + 3) * 2);
  EXPECT_EQ(Picture::text_width("µ"), Picture::text_width("?"));
}

TEST(png, base64_known_answers) {  // RFC 4648, section 10
  const auto encode = [](std::string_view text) { return base64(std::as_bytes(std::span(text))); };
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode("\xff\xfe"), "//4=");
}

}  // namespace metvox
