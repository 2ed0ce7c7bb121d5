// SPDX-License-Identifier: Apache-2.0
// report/index.html of a study: one self-contained page with the tables and figures of Luu et al. 2024 redrawn from
// this study's scores, what those do not show (lesions by size, what was missed, cases one by one), and how it was
// made.
#pragma once
#include "segmentation/study/config.h"

namespace metvox {

// From what is there: a system without scores is named and left out. Throws Error (Fault::input) when none has any.
void write_study_report(const StudyConfig& config, const Path& study);

}  // namespace metvox
