// SPDX-License-Identifier: Apache-2.0
// What the verbs that write folders of predictions have in common: the record of how, and the report at the end.
#pragma once
#include "segmentation/inference/predict_cases.h"
#include "tools/cli.h"

namespace metvox {

// Adds its hash to the configuration and writes it to DIR/predict_config.json; says so when predictions that are there
// were made in another way. Returns the note for each image's header, with the hash.
std::string write_config(const CommandLine& line, const Path& dir, Json config);

// The option that a cascade needs; `folder` is what it was given. Throws Error (Fault::usage) with the command that
// makes one.
void require_previous_stage(const ModelFolder& model, const Path& input, const Path& folder);

// Says, or prints as JSON, what was done; `faults` came before done.faults. Returns the exit code.
int report_predictions(const CommandLine& line, const Path& dir, const Predictions& done,
                       std::vector<std::string> faults);

}  // namespace metvox
