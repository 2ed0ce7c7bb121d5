// SPDX-License-Identifier: Apache-2.0
// Pieces of a self-contained HTML page.
#pragma once
#include "io/csv.h"
#include "io/png.h"

namespace metvox::html {

std::string escape(const std::string& text);
// Head with the page's style, up to <main>; and its end.
std::string page_begin(const std::string& title);
std::string page_end();
std::string image(const Picture& picture, const std::string& alternative);
std::string image(std::span<const std::byte> png, const std::string& alternative);
// Scrolls sideways on narrow screens. Cells are text.
std::string table(const CsvTable& table);
// "0.912", "−1.5" with a minus sign, "∞"; never a negative zero; a dash for NaN.
std::string fixed(double value, int digits);
std::string colour(Rgb rgb);

}  // namespace metvox::html
