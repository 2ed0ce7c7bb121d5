// SPDX-License-Identifier: Apache-2.0
// Grows metastases into a head: core with or without necrosis, enhancing rim, oedema that runs along white matter.
#pragma once
#include <vector>

#include "segmentation/phantom/anatomy.h"
#include "segmentation/phantom/phantom.h"

namespace metvox::phantom {

struct LesionMap {
  std::vector<uint8_t> labels;         // 0, 1 NETC, 2 SNFH, 3 ET
  std::vector<uint16_t> owner;         // 0, or the id of the lesion that the label belongs to
  std::vector<PhantomLesion> lesions;  // by id, 1 first; measured on `labels`
};
LesionMap grow_lesions(const TissueMap& tissue, const Grid& grid, const Streams& streams);

// Lesions of a case, at least 1: log-normal, mean 7.7, as the real sets have it; half the cases have 4 or fewer.
int64_t draw_lesion_count(Random& random);
// Radius in mm, 1 to 18: the first lesion of a case is a large one of 6 mm or more, of the others one in four is large.
double draw_lesion_radius_mm(Random& random, bool first);

}  // namespace metvox::phantom
