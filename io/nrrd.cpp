// SPDX-License-Identifier: Apache-2.0
#include "io/nrrd.h"

#include "io/csv.h"

namespace metvox {

namespace {

// (right, anterior, superior) as "(left,posterior,superior)".
std::string vector_text(double r, double a, double s) {
  return "(" + csv_number(0 - r) + "," + csv_number(0 - a) + "," + csv_number(s) + ")";
}

// Line breaks and backslashes are escaped, so that a name cannot begin a field of its own.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\n' ? "\\n" : c == '\\' ? "\\\\" : std::string(1, c);
  return out;
}

}  // namespace

void write_nrrd(const Path& path, const Tensor& voxels, const Geometry& grid,
                const std::vector<std::pair<std::string, std::string>>& fields) {
  const Shape& n = voxels.shape();
  check(voxels.dtype() == DType::u8 && n.rank() == 4 && n[2] == grid.shape[0] && n[1] == grid.shape[1] &&
            n[0] == grid.shape[2],
        "write_nrrd: expects u8 (z, y, x, layers) on the grid, got ", n);
  const auto& m = grid.affine.m;
  std::string text =
      sentence("NRRD0004\ntype: unsigned char\ndimension: 4\nspace: left-posterior-superior\nsizes: ", n[3], " ", n[2],
               " ", n[1], " ", n[0], "\nspace directions: none");
  for (size_t axis = 0; axis < 3; ++axis) text += " " + vector_text(m[0][axis], m[1][axis], m[2][axis]);
  text +=
      "\nkinds: list domain domain domain\nencoding: gzip\nspace origin: " + vector_text(m[0][3], m[1][3], m[2][3]) +
      "\n";
  for (const auto& [key, value] : fields) text += escaped(key) + ":=" + escaped(value) + "\n";
  text += "\n";
  const auto* header = reinterpret_cast<const std::byte*>(text.data());
  Bytes file(header, header + text.size());
  const auto* data = static_cast<const std::byte*>(voxels.view().data);
  const Bytes packed = gzip({data, voxels.bytes()});
  file.insert(file.end(), packed.begin(), packed.end());
  write_bytes(path, file);
}

}  // namespace metvox
