// SPDX-License-Identifier: Apache-2.0
// One training step taken apart, layer by layer.
#pragma once
#include "autograd/program.h"
#include "io/files.h"

namespace metvox {

// Writes profile.csv (a row a layer: engines, milliseconds, GFLOP/s and share of the step, forward and backward) and
// trace.json (Chrome's trace events, for chrome://tracing or ui.perfetto.dev) into the folder.
void write_profile(const Path& folder, const std::vector<Program::Timing>& steps);

}  // namespace metvox
