// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/components.h"

#include <algorithm>

#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

// Sets of provisional numbers; a set is known by its smallest one.
class DisjointSets {
 public:
  DisjointSets() : parent_(1, 0) {}
  int32_t add() {
    parent_.push_back(static_cast<int32_t>(parent_.size()));
    return parent_.back();
  }
  int32_t find(int32_t a) {
    while (parent_[a] != a) a = parent_[a] = parent_[parent_[a]];
    return a;
  }
  int32_t join(int32_t a, int32_t b) {
    a = find(a);
    b = find(b);
    return parent_[std::max(a, b)] = std::min(a, b);
  }
  // Numbers the sets 1, 2, ... in the order of their smallest members.
  std::vector<int32_t> renumbered() {
    std::vector<int32_t> number(parent_.size());
    int32_t next = 0;
    for (int32_t a = 1; a < static_cast<int32_t>(parent_.size()); ++a)
      number[a] = find(a) == a ? ++next : number[find(a)];
    return number;
  }

 private:
  std::vector<int32_t> parent_;
};

// Voxels [first, last) of a row.
struct Run {
  int64_t z, y, first, last;
};

// The set of a run: joined over the four rows before it that it may touch, an edge and a corner further on both sides.
int32_t join_neighbours(const int32_t* index, const Int3& n, const Run& run, DisjointSets& sets) {
  int32_t set = 0;
  for (const auto& [dz, dy] : {std::pair{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}}) {
    const int64_t z = run.z + dz, y = run.y + dy;
    if (z < 0 || y < 0 || y >= n[1]) continue;
    const int32_t* row = index + (z * n[1] + y) * n[2];
    int32_t before = 0;
    for (int64_t x = std::max<int64_t>(run.first - 1, 0); x < std::min(run.last + 1, n[2]); ++x) {
      if (row[x] && row[x] != before) set = set ? sets.join(set, row[x]) : row[x];
      before = row[x];
    }
  }
  return set ? set : sets.add();
}

std::vector<Run> runs_of(const Tensor& mask, const Int3& n) {
  std::vector<Run> runs;
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      Run run{z, y, -2, -2};
      for_each_nonzero(mask.data<uint8_t>() + (z * n[1] + y) * n[2], n[2], [&](int64_t x) {
        if (x != run.last) {
          if (run.last >= 0) runs.push_back(run);
          run.first = x;
        }
        run.last = x + 1;
      });
      if (run.last >= 0) runs.push_back(run);
    }
  return runs;
}

void include(Component& c, const Run& run) {
  if (c.voxels == 0) c.first = {run.z, run.y, run.first};
  const int64_t count = run.last - run.first;
  c.voxels += count;
  c.centre[0] += static_cast<double>(count * run.z);  // sums of whole numbers: exact, as one by one
  c.centre[1] += static_cast<double>(count * run.y);
  c.centre[2] += static_cast<double>((run.first + run.last - 1) * count / 2);
  const Int3 first{run.z, run.y, run.first}, last{run.z + 1, run.y + 1, run.last};
  for (size_t a = 0; a < 3; ++a) {
    c.first[a] = std::min(c.first[a], first[a]);
    c.last[a] = std::max(c.last[a], last[a]);
  }
}

}  // namespace

Components find_components(const Tensor& mask) {
  check(mask.shape().rank() == 3, "find_components: expects (z, y, x), got ", mask.shape());
  const Int3 n{mask.shape()[0], mask.shape()[1], mask.shape()[2]};
  Components found{Tensor::zeros(mask.shape(), DType::i32), {}};
  int32_t* index = found.index.data<int32_t>();
  const auto begin = [&](const Run& run) { return index + (run.z * n[1] + run.y) * n[2]; };
  const std::vector<Run> runs = runs_of(mask, n);
  DisjointSets sets;
  for (const Run& run : runs)
    std::fill(begin(run) + run.first, begin(run) + run.last, join_neighbours(index, n, run, sets));
  const std::vector<int32_t> number = sets.renumbered();
  found.components.resize(static_cast<size_t>(*std::max_element(number.begin(), number.end())));
  for (const Run& run : runs) {
    const int32_t k = number[static_cast<size_t>(begin(run)[run.first])];
    std::fill(begin(run) + run.first, begin(run) + run.last, k);
    include(found.components[static_cast<size_t>(k - 1)], run);
  }
  for (Component& c : found.components)
    for (double& v : c.centre) v /= static_cast<double>(c.voxels);
  return found;
}

}  // namespace metvox
