// SPDX-License-Identifier: Apache-2.0
// A parity certificate: a model folder may carry an oracle, a case with what the reference implementation in double
// makes of it at every stage, and how far the reference itself in float is from that. verify_model() runs the case
// through this program and compares.
// MODEL/oracle/CASE_0000.nii.gz, ... (of a cascade previous_stage/CASE.nii.gz too) and oracle.safetensors
// (tools/make_oracle.py): a tensor f64 a stage, its values at `positions` of the whole (PyTorch's order, value k of n
// at k (size - 1) / (n - 1)), and metadata "oracle", JSON with "case", "fold", "made_with" and "stages": {NAME:
// {"shape", "float32_error"}}. Stages: read, crop, normalise, resample (with a cascade's masks), layer SCOPE OP ...,
// window, export.
#pragma once
#include "segmentation/networks/model.h"

namespace metvox {

struct VerifiedStage {
  std::string name;
  int64_t values = 0;  // compared
  double error = 0;    // the largest
  double limit = 0;    // kSlack times the reference's own error in float, at least that of rounding once
  bool ok = false;
};

struct Certificate {
  std::string case_id, fold;
  Json made_with;  // versions of the reference
  std::vector<VerifiedStage> stages;
  bool ok() const;
};

// Throws Error (Fault::input) when there is no oracle, or one that is not of this model.
Certificate verify_model(const ModelFolder& model, const std::string& checkpoint, const Target& target);

}  // namespace metvox
