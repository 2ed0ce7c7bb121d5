// SPDX-License-Identifier: Apache-2.0
// A bitmap face of the printable ASCII characters: capitals 7 pixels high, descenders 2 more. Only png.cpp includes
// this.
#pragma once
#include <string_view>
#include <vector>

namespace metvox {

struct Glyph {
  std::string_view rows;  // "##.. #..#": row by row from the top, a space between two
  int width = 0, height = 0;
  bool inked(int column, int row) const { return rows[static_cast<size_t>(row * (width + 1) + column)] == '#'; }
};

// One a character of UTF-8 text; '?' for those that the face lacks.
std::vector<Glyph> glyphs(std::string_view text);

}  // namespace metvox
