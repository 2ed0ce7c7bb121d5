// SPDX-License-Identifier: Apache-2.0
#include "io/volume.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "tensor/threads.h"

namespace metvox {
namespace {

using Point = std::array<double, 3>;

double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Not std::hypot of three, which may lose a NaN.
double norm(const Point& p) { return std::sqrt(dot(p, p)); }

double distance(const Point& a, const Point& b) { return norm({a[0] - b[0], a[1] - b[1], a[2] - b[2]}); }

Point column(const Affine& a, size_t axis) { return {a.m[0][axis], a.m[1][axis], a.m[2][axis]}; }

Point cross(const Point& a, const Point& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// f(corner index) for the eight corner voxels.
template <class F>
bool all_corners(const std::array<int64_t, 3>& shape, F&& f) {
  for (int corner = 0; corner < 8; ++corner) {
    Point index{};
    for (size_t a = 0; a < 3; ++a) index[a] = corner >> a & 1 ? static_cast<double>(shape[a] - 1) : 0;
    if (!f(index)) return false;
  }
  return true;
}

// How the axes of a target grid run through a source: target axis a is source axis `axis[a]`, backwards where flipped.
struct Permutation {
  std::array<size_t, 3> axis{};
  std::array<bool, 3> flipped{};
};

std::optional<Permutation> permutation(const Geometry& source, const Geometry& target) {
  const Affine inverse = source.affine.inverse();
  Permutation p;
  for (size_t a = 0; a < 3; ++a) {
    const Point step = column(target.affine, a);
    Point along{};  // the target's step in steps of the source
    for (size_t b = 0; b < 3; ++b)
      along[b] = inverse.m[b][0] * step[0] + inverse.m[b][1] * step[1] + inverse.m[b][2] * step[2];
    for (size_t b = 1; b < 3; ++b)
      if (std::abs(along[b]) > std::abs(along[p.axis[a]])) p.axis[a] = b;
    p.flipped[a] = along[p.axis[a]] < 0;
  }
  if (p.axis[0] == p.axis[1] || p.axis[0] == p.axis[2] || p.axis[1] == p.axis[2]) return {};
  for (size_t a = 0; a < 3; ++a)
    if (target.shape[a] != source.shape[p.axis[a]]) return {};
  return p;
}

template <class T>
void copy_permuted(const Volume& v, const Geometry& target, const Permutation& p, Tensor& out) {
  const auto& from = v.geometry.shape;
  const std::array<int64_t, 3> stride{1, from[0], from[0] * from[1]};
  std::array<int64_t, 3> step{};
  int64_t first = 0;
  for (size_t a = 0; a < 3; ++a) {
    step[a] = p.flipped[a] ? -stride[p.axis[a]] : stride[p.axis[a]];
    if (p.flipped[a]) first += (target.shape[a] - 1) * stride[p.axis[a]];
  }
  const T* x = static_cast<const T*>(v.voxels.view().data) + first;
  T* y = static_cast<T*>(out.view().data);
  const auto [ni, nj, nk] = target.shape;
  parallel_for(nk, 1, [&, ni = ni, nj = nj](int64_t k0, int64_t k1) {
    for (int64_t k = k0; k < k1; ++k)
      for (int64_t j = 0; j < nj; ++j) {
        const T* row = x + j * step[1] + k * step[2];
        T* to = y + (k * nj + j) * ni;
        for (int64_t i = 0; i < ni; ++i) to[i] = row[i * step[0]];
      }
  });
}

// Rotation to quaternion: (b, c, d) with a >= 0. `r` has orthonormal columns and determinant 1.
Point quaternion(const std::array<Point, 3>& r) {
  const double trace = r[0][0] + r[1][1] + r[2][2];
  if (trace > 0) {
    const double a4 = 2 * std::sqrt(trace + 1);
    return {(r[1][2] - r[2][1]) / a4, (r[2][0] - r[0][2]) / a4, (r[0][1] - r[1][0]) / a4};
  }
  // r[column][row]; the largest diagonal entry belongs to the largest of b, c, d.
  size_t x = 0;
  for (size_t n = 1; n < 3; ++n)
    if (r[n][n] > r[x][x]) x = n;
  const size_t y = (x + 1) % 3, z = (x + 2) % 3;
  const double q4 = 2 * std::sqrt(1 + r[x][x] - r[y][y] - r[z][z]);
  Point q{};
  q[x] = q4 / 4;
  q[y] = (r[x][y] + r[y][x]) / q4;
  q[z] = (r[x][z] + r[z][x]) / q4;
  if (r[y][z] - r[z][y] < 0) q = {-q[0], -q[1], -q[2]};
  return q;
}

}  // namespace

std::array<double, 3> Affine::operator()(const std::array<double, 3>& index) const {
  std::array<double, 3> world{};
  for (size_t r = 0; r < 3; ++r) world[r] = m[r][0] * index[0] + m[r][1] * index[1] + m[r][2] * index[2] + m[r][3];
  return world;
}

Affine Affine::inverse() const {
  const Point x = column(*this, 0), y = column(*this, 1), z = column(*this, 2), offset = column(*this, 3);
  const double determinant = dot(cross(x, y), z);
  // Written so that NaN fails too.
  if (!(std::abs(determinant) > 1e-9 * norm(x) * norm(y) * norm(z)))
    fail(Fault::input, "the affine is singular: its three axes do not span space");
  const std::array<Point, 3> rows{cross(y, z), cross(z, x), cross(x, y)};
  Affine out;
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 3; ++c) out.m[r][c] = rows[r][c] / determinant;
    out.m[r][3] = -dot(rows[r], offset) / determinant;
  }
  return out;
}

std::string Geometry::axes() const {
  if (qform_code <= 0 && sform_code <= 0) return "unknown";
  std::string letters = "???";
  std::array<bool, 3> row_taken{};
  for (int turn = 0; turn < 3; ++turn) {
    double best = -1;
    size_t best_row = 0, best_axis = 0;
    for (size_t axis = 0; axis < 3; ++axis)
      for (size_t row = 0; row < 3; ++row) {
        const double match = std::abs(affine.m[row][axis]) / norm(column(affine, axis));
        if (letters[axis] != '?' || row_taken[row] || match <= best) continue;
        best = match, best_row = row, best_axis = axis;
      }
    row_taken[best_row] = true;
    letters[best_axis] = (affine.m[best_row][best_axis] < 0 ? "LPI" : "RAS")[best_row];
  }
  return letters;
}

Geometry make_geometry(const std::array<int64_t, 3>& shape, const Affine& affine) {
  affine.inverse();  // refuses a singular one
  Geometry g;
  g.shape = shape;
  g.affine = affine;
  g.sform_code = 1;
  std::copy_n(affine.m.begin(), 3, g.srow.begin());
  std::array<Point, 3> r{};
  for (size_t a = 0; a < 3; ++a) {
    r[a] = column(affine, a);
    g.spacing_mm[a] = norm(r[a]);
    for (double& e : r[a]) e /= g.spacing_mm[a];
  }
  constexpr double kOrthogonal = 1e-6;  // what f32 headers keep of a right angle
  if (std::max({std::abs(dot(r[0], r[1])), std::abs(dot(r[0], r[2])), std::abs(dot(r[1], r[2]))}) > kOrthogonal)
    return g;
  if (dot(cross(r[0], r[1]), r[2]) < 0) {
    g.qfac = -1;
    for (double& e : r[2]) e = -e;
  }
  const Point q = quaternion(r);
  g.qform_code = 1;
  g.quatern = {q[0], q[1], q[2], affine.m[0][3], affine.m[1][3], affine.m[2][3]};
  return g;
}

double largest_corner_distance_mm(const std::array<int64_t, 3>& shape, const Affine& a, const Affine& b) {
  double most = 0;
  all_corners(shape, [&](const Point& index) {
    const double apart = distance(a(index), b(index));
    if (!(apart <= most)) most = apart;
    return !std::isnan(apart);
  });
  return most;
}

bool same_grid(const Geometry& a, const Geometry& b, double tolerance_mm) {
  return a.shape == b.shape && largest_corner_distance_mm(a.shape, a.affine, b.affine) <= tolerance_mm;
}

std::string describe(const Geometry& g) {
  const Point first = g.affine({0, 0, 0});
  return sentence(g.shape[0], 'x', g.shape[1], 'x', g.shape[2], " voxels of ", g.spacing_mm[0], 'x', g.spacing_mm[1],
                  'x', g.spacing_mm[2], " mm, ", g.axes(), ", first voxel at (", first[0], ", ", first[1], ", ",
                  first[2], ")");
}

Tensor onto_lattice(const Volume& v, const Geometry& target, double tolerance_mm) {
  const Geometry& source = v.geometry;
  const auto p = permutation(source, target);
  if (!p) return {};
  const bool coincide = all_corners(target.shape, [&](const Point& index) {
    Point at{};
    for (size_t a = 0; a < 3; ++a)
      at[p->axis[a]] = p->flipped[a] ? static_cast<double>(target.shape[a] - 1) - index[a] : index[a];
    return distance(target.affine(index), source.affine(at)) <= tolerance_mm;
  });
  if (!coincide) return {};
  if (p->axis == std::array<size_t, 3>{0, 1, 2} && p->flipped == std::array<bool, 3>{}) return v.voxels;
  Tensor out = Tensor::empty({target.shape[2], target.shape[1], target.shape[0]}, v.voxels.dtype());
  switch (size_of(v.voxels.dtype())) {
    case 1: copy_permuted<uint8_t>(v, target, *p, out); break;
    case 2: copy_permuted<uint16_t>(v, target, *p, out); break;
    case 4: copy_permuted<uint32_t>(v, target, *p, out); break;
    default: copy_permuted<uint64_t>(v, target, *p, out);
  }
  return out;
}

}  // namespace metvox
