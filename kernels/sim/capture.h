// SPDX-License-Identifier: Apache-2.0
// What a CUDA graph is on a GPU: launches, copies and fills of one thread are done at once, or, between begin_capture
// and end_capture, kept. And the names of what they belong to.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace simt {

struct Graph {
  std::vector<std::function<void()>> work;
};

void begin_capture();
Graph* end_capture();  // the caller's to delete
void replay(const Graph& graph);
bool is_recording();
// Does the work, or keeps it where this thread is recording.
void give(std::function<void()> work);
// Throws where this thread is recording: memory cannot be taken then, nor the device waited for.
void refuse_in_capture(const char* what);

// Names of what this thread gives to the device, innermost last; reports tell them.
void begin_range(const char* name);
void end_range();
const char* range();  // the innermost, or ""; lives as long as the program

// Since the program began: pieces of work that were kept in graphs, and graphs that ran.
struct Counts {
  int64_t kept = 0, replayed = 0;
};
Counts counts();

}  // namespace simt
