// SPDX-License-Identifier: Apache-2.0
// Are the sets of a study apart? A system that is tested on what it learnt from says nothing.
#pragma once
#include "segmentation/study/config.h"

namespace metvox {

// Throws Error (Fault::input) where an image of a held-out case is one of the public or of the private set: the same
// file, by whatever links, or a copy. Returns sentences about what a study may have meant: copies of a case in the
// private set of which one is held out by its name, and cases that public and private set share. Reads what of a data
// set is there; phantoms are told by their seeds.
std::vector<std::string> require_sets_apart(const StudyConfig& config);

}  // namespace metvox
