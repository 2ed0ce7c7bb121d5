// SPDX-License-Identifier: Apache-2.0
// Plan: which bytes live when, and where each lies in the arena. A pure function of lifetimes; no device, no memory.
// Time: node i runs forward at time i and backward at time 2 n - 1 - i; 2 n is the end of the run.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace metvox {

struct Buffer {
  enum class Role { value, gradient, moments, saved, scratch, temporary };
  Role role = Role::value;
  int node = -1;   // whose value, gradient, ...
  int input = -1;  // a temporary's: the input whose gradient it holds
  size_t bytes = 0;
  int first = 1 << 30, last = -1;  // times of the first and last step that touches it
  size_t offset = 0;

  void touch(int time) {
    if (time < first) first = time;
    if (time > last) last = time;
  }
  bool lives() const { return last >= 0 && bytes > 0; }
};

class Plan {
 public:
  // Gives every living buffer an offset: the largest first, at the lowest offset that is free for its whole life.
  explicit Plan(std::vector<Buffer> buffers);

  const std::vector<Buffer>& buffers() const { return buffers_; }
  size_t arena_bytes() const { return arena_bytes_; }
  // The most bytes alive at one time: no placement can be below it.
  size_t lower_bound_bytes() const { return lower_bound_bytes_; }
  size_t separate_bytes() const { return separate_bytes_; }  // without any reuse
  // The largest buffers alive at the fullest time, for messages.
  std::string describe_peak(const std::vector<std::string>& node_names) const;

 private:
  std::vector<Buffer> buffers_;
  size_t arena_bytes_ = 0, lower_bound_bytes_ = 0, separate_bytes_ = 0;
  int fullest_ = 0;
};

}  // namespace metvox
