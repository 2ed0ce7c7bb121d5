// SPDX-License-Identifier: Apache-2.0
#include "autograd/plan.h"

#include <algorithm>
#include <map>

#include "tensor/align.h"
#include "tensor/error.h"

namespace metvox {
namespace {

bool overlap(const Buffer& a, const Buffer& b) { return a.first <= b.last && b.first <= a.last; }

const char* name_of(Buffer::Role role) {
  switch (role) {
    case Buffer::Role::value: return "value";
    case Buffer::Role::gradient: return "gradient";
    case Buffer::Role::moments: return "moments";
    case Buffer::Role::saved: return "saved";
    case Buffer::Role::scratch: return "scratch";
    case Buffer::Role::temporary: return "temporary";
  }
  return "?";
}

}  // namespace

Plan::Plan(std::vector<Buffer> buffers) : buffers_(std::move(buffers)) {
  std::vector<Buffer*> order;
  std::map<int, std::ptrdiff_t> change;  // bytes that come and go at a time
  for (Buffer& b : buffers_) {
    if (!b.lives()) continue;
    order.push_back(&b);
    separate_bytes_ += aligned(b.bytes);
    change[b.first] += static_cast<std::ptrdiff_t>(aligned(b.bytes));
    change[b.last + 1] -= static_cast<std::ptrdiff_t>(aligned(b.bytes));
  }
  std::ptrdiff_t alive = 0;
  for (auto [time, bytes] : change) {
    alive += bytes;
    if (static_cast<size_t>(alive) > lower_bound_bytes_) {
      lower_bound_bytes_ = static_cast<size_t>(alive);
      fullest_ = time;
    }
  }
  std::stable_sort(order.begin(), order.end(), [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::vector<Buffer*> placed;  // sorted by offset
  for (Buffer* b : order) {
    size_t offset = 0;
    for (const Buffer* p : placed) {
      if (!overlap(*p, *b)) continue;
      if (offset + aligned(b->bytes) <= p->offset) break;
      offset = std::max(offset, p->offset + aligned(p->bytes));
    }
    b->offset = offset;
    arena_bytes_ = std::max(arena_bytes_, offset + aligned(b->bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [](const Buffer* x, const Buffer* y) { return x->offset < y->offset; }),
                  b);
  }
}

std::string Plan::describe_peak(const std::vector<std::string>& node_names) const {
  std::vector<const Buffer*> alive;
  for (const Buffer& b : buffers_)
    if (b.lives() && b.first <= fullest_ && fullest_ <= b.last) alive.push_back(&b);
  std::stable_sort(alive.begin(), alive.end(), [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::string text = sentence("arena ", arena_bytes_, " bytes (at least ", lower_bound_bytes_, ", separately ",
                              separate_bytes_, "); largest at the peak:");
  for (size_t i = 0; i < std::min<size_t>(3, alive.size()); ++i)
    text += sentence(i ? ", " : " ", name_of(alive[i]->role), " of ", node_names[static_cast<size_t>(alive[i]->node)],
                     " (", alive[i]->bytes, " bytes)");
  return text;
}

}  // namespace metvox
