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

// The set of the voxel at (z, y, x): joined over the 13 neighbours that come before it.
int32_t join_neighbours(const int32_t* index, const Int3& n, int64_t z, int64_t y, int64_t x, DisjointSets& sets) {
  int32_t set = 0;
  for (int64_t dz = -1; dz <= 0; ++dz)
    for (int64_t dy = -1; dy <= (dz < 0 ? 1 : 0); ++dy)
      for (int64_t dx = -1; dx <= (dz < 0 || dy < 0 ? 1 : -1); ++dx) {
        const int64_t a = z + dz, b = y + dy, c = x + dx;
        if (a < 0 || b < 0 || c < 0 || b >= n[1] || c >= n[2]) continue;
        const int32_t other = index[(a * n[1] + b) * n[2] + c];
        if (other) set = set ? sets.join(set, other) : other;
      }
  return set ? set : sets.add();
}

void include(Component& c, const Int3& p) {
  if (c.voxels++ == 0) c.first = p;
  for (size_t a = 0; a < 3; ++a) {
    c.centre[a] += static_cast<double>(p[a]);
    c.first[a] = std::min(c.first[a], p[a]);
    c.last[a] = std::max(c.last[a], p[a] + 1);
  }
}

}  // namespace

Components find_components(const Tensor& mask) {
  check(mask.shape().rank() == 3, "find_components: expects (z, y, x), got ", mask.shape());
  const Int3 n{mask.shape()[0], mask.shape()[1], mask.shape()[2]};
  Components found{Tensor::zeros(mask.shape(), DType::i32), {}};
  int32_t* index = found.index.data<int32_t>();
  const auto place = [&](int64_t i) { return Int3{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]}; };
  DisjointSets sets;
  for_each_nonzero(mask.data<uint8_t>(), mask.size(), [&](int64_t i) {
    const Int3 p = place(i);
    index[i] = join_neighbours(index, n, p[0], p[1], p[2], sets);
  });
  const std::vector<int32_t> number = sets.renumbered();
  found.components.resize(static_cast<size_t>(*std::max_element(number.begin(), number.end())));
  for_each_nonzero(mask.data<uint8_t>(), mask.size(), [&](int64_t i) {
    index[i] = number[static_cast<size_t>(index[i])];
    include(found.components[static_cast<size_t>(index[i] - 1)], place(i));
  });
  for (Component& c : found.components)
    for (double& v : c.centre) v /= static_cast<double>(c.voxels);
  return found;
}

}  // namespace metvox
