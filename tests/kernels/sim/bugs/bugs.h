// SPDX-License-Identifier: Apache-2.0
// Kernels that are wrong on purpose, to test the tester. Each is a template of `bool right`: right<true> is its twin,
// with the fault mended, which must give no report. A line that the report of a fault has to name ends in "// bug:
// NAME".
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/sim/sim_testing.h"

namespace metvox {

struct Bug {
  std::string name, file;
  std::string report;  // regular expression for its first line
  std::function<void(bool right)> run;
};

std::vector<Bug>& bugs();

struct RegisterBug {
  RegisterBug(const char* name, const char* file, const char* report, std::function<void(bool)> run) {
    bugs().push_back({name, file, report, std::move(run)});
  }
};

// METVOX_BUG(kernel, "report", threads, arguments...): one block of it on a buffer `y` of 256 zeros, then the
// arguments.
#define METVOX_BUG_IN_GRID(kernel, report, grid, block, bytes, ...)                                    \
  const RegisterBug kernel##_bug(#kernel, __FILE__, report, [](bool right) {                           \
    BugBuffers of;                                                                                     \
    Stream stream;                                                                                     \
    launch(right ? kernel<true> : kernel<false>, dim3(grid), dim3(block), bytes, stream, __VA_ARGS__); \
  })
// METVOX_PLAIN_BUG: the plain build reports it as well.
#define METVOX_PLAIN_BUG METVOX_BUG
#define METVOX_BUG(kernel, report, threads, ...) METVOX_BUG_IN_GRID(kernel, report, 1, threads, 0, __VA_ARGS__)

struct BugBuffers {
  SimBuffer<float> y_{"y", 256}, x_{"x", 256}, fresh_{"fresh", 256};
  SimBuffer<unsigned> ticket_{"ticket", 1};
  std::vector<float> host_ = std::vector<float>(256, 1.f);
  float* y() { return y_.zero().data(); }
  const float* x() { return x_.zero().data(); }
  float* fresh() { return fresh_.data(); }
  unsigned* ticket() { return ticket_.zero().data(); }
  const float* host() { return host_.data(); }
};

}  // namespace metvox
