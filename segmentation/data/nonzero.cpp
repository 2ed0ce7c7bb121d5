// SPDX-License-Identifier: Apache-2.0
// The non-zero mask of a case. Holes are background that no 6-connected path joins to the border; they are found by
// union-find over runs of background voxels along x, of which a head has few.
#include <cstring>
#include <numeric>

#include "segmentation/data/preprocess.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

struct Run {
  int32_t first, last;  // half open, along x
};

// Runs of all rows, row by row; row r owns [start[r], start[r + 1]).
struct Runs {
  std::vector<Run> runs;
  std::vector<int64_t> start;
};

Runs background_runs(const uint8_t* mask, int64_t rows, int64_t nx) {
  Runs out;
  out.start.reserve(static_cast<size_t>(rows + 1));
  for (int64_t r = 0; r < rows; ++r) {
    out.start.push_back(static_cast<int64_t>(out.runs.size()));
    const uint8_t* row = mask + r * nx;
    for (int64_t x = 0; x < nx;) {
      const auto left = static_cast<size_t>(nx - x);
      const void* zero = std::memchr(row + x, 0, left);
      if (!zero) break;
      const int64_t first = static_cast<const uint8_t*>(zero) - row;
      const void* one = std::memchr(row + first, 1, static_cast<size_t>(nx - first));
      x = one ? static_cast<const uint8_t*>(one) - row : nx;
      out.runs.push_back({static_cast<int32_t>(first), static_cast<int32_t>(x)});
    }
  }
  out.start.push_back(static_cast<int64_t>(out.runs.size()));
  return out;
}

// Sets of runs. The root is the lowest index; 0 stands for the outside.
class Sets {
 public:
  explicit Sets(size_t n) : parent_(n + 1) { std::iota(parent_.begin(), parent_.end(), int64_t{0}); }
  int64_t root(int64_t i) {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(int64_t a, int64_t b) {
    a = root(a);
    b = root(b);
    at(std::max(a, b)) = std::min(a, b);
  }

 private:
  int64_t& at(int64_t i) { return parent_[static_cast<size_t>(i)]; }
  std::vector<int64_t> parent_;
};

// Joins runs of two neighbouring rows that overlap.
void join_rows(const Runs& r, int64_t a, int64_t b, Sets& sets) {
  const auto start = [&](int64_t row) { return r.start[static_cast<size_t>(row)]; };
  for (int64_t i = start(a), j = start(b); i < start(a + 1) && j < start(b + 1);) {
    const Run &p = r.runs[static_cast<size_t>(i)], &q = r.runs[static_cast<size_t>(j)];
    if (p.first < q.last && q.first < p.last) sets.join(i + 1, j + 1);
    if (p.last < q.last) ++i;
    else ++j;
  }
}

void fill_holes(uint8_t* mask, const Int3& n) {
  const Runs r = background_runs(mask, n[0] * n[1], n[2]);
  Sets sets(r.runs.size());
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      const int64_t row = z * n[1] + y;
      const bool border = z == 0 || z == n[0] - 1 || y == 0 || y == n[1] - 1;
      for (int64_t i = r.start[static_cast<size_t>(row)]; i < r.start[static_cast<size_t>(row + 1)]; ++i) {
        const Run& run = r.runs[static_cast<size_t>(i)];
        if (border || run.first == 0 || run.last == n[2]) sets.join(i + 1, 0);
      }
      if (y > 0) join_rows(r, row - 1, row, sets);
      if (z > 0) join_rows(r, row - n[1], row, sets);
    }
  for (int64_t row = 0; row < n[0] * n[1]; ++row)
    for (int64_t i = r.start[static_cast<size_t>(row)]; i < r.start[static_cast<size_t>(row + 1)]; ++i) {
      const Run& run = r.runs[static_cast<size_t>(i)];
      if (sets.root(i + 1) != 0)
        std::memset(mask + row * n[2] + run.first, 1, static_cast<size_t>(run.last - run.first));
    }
}

// A function of its own, so that the compiler knows that no byte written here is one of the pointers.
void mark_nonzero(const float* x, int64_t n, uint8_t* mask) {
  for (int64_t i = 0; i < n; ++i) mask[i] = static_cast<uint8_t>(mask[i] | (x[i] != 0));
}

}  // namespace

Tensor nonzero_mask(const Tensor& data) {
  const Shape& n = data.shape();
  check(n.rank() == 4, "nonzero_mask: the data are ", n, ", expected (C, z, y, x)");
  Geometry grid;
  grid.shape = {n[3], n[2], n[1]};
  return nonzero_mask(sequences_of({data, grid, {}}));
}

Tensor nonzero_mask(const SequenceSource& sequences) {
  const auto& shape = sequences.geometry.shape;
  const Int3 n{shape[2], shape[1], shape[0]};
  Tensor mask = Tensor::zeros({n[0], n[1], n[2]}, DType::u8);
  uint8_t* m = mask.data<uint8_t>();
  for (int64_t c = 0; c < sequences.count; ++c) {
    const Tensor sequence = sequences.sequence(c);
    const float* x = sequence.data<float>();
    parallel_for(mask.size(), 1 << 16,
                 [&](int64_t first, int64_t last) { mark_nonzero(x + first, last - first, m + first); });
  }
  fill_holes(m, n);
  return mask;
}

CropBox bounding_box(const Tensor& mask) {
  const Shape& n = mask.shape();
  CropBox box{{n[0], n[1], n[2]}, {0, 0, 0}};
  const auto include = [&](int axis, int64_t first, int64_t last) {
    const auto a = static_cast<size_t>(axis);
    box.first[a] = std::min(box.first[a], first);
    box.last[a] = std::max(box.last[a], last);
  };
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      const uint8_t* row = mask.data<uint8_t>() + (z * n[1] + y) * n[2];
      const void* one = std::memchr(row, 1, static_cast<size_t>(n[2]));
      if (!one) continue;
      int64_t last = n[2];
      while (!row[last - 1]) --last;
      include(0, z, z + 1);
      include(1, y, y + 1);
      include(2, static_cast<const uint8_t*>(one) - row, last);
    }
  if (box.last[0] == 0) box.first = {0, 0, 0};
  return box;
}

}  // namespace metvox
