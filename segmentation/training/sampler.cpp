// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/sampler.h"

#include <algorithm>
#include <cmath>

namespace metvox {

StartRange start_range(const Int3& case_extent, const Int3& window, const Int3& patch) {
  StartRange range;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t pad = std::max(window[a] - patch[a], window[a] - case_extent[a]);
    range.low[a] = -((pad + 1) / 2);  // -pad // 2 rounds down
    range.high[a] = case_extent[a] + pad / 2 + pad % 2 - window[a];
  }
  return range;
}

bool forced_foreground(int64_t element, int64_t batch_size) {
  constexpr double kForced = 0.33;
  return element >= std::llrint(static_cast<double>(batch_size) * (1 - kForced));
}

Window draw_window(const std::vector<const TrainingCase*>& cases, const Int3& window, const Int3& patch, bool forced,
                   Random& random) {
  const TrainingCase& c = *cases[static_cast<size_t>(random.below(static_cast<int64_t>(cases.size())))];
  const StartRange range = start_range(c.extent, window, patch);
  Window w{c.data, c.seg, c.extent, {}, window, c.previous};
  if (forced && !c.locations.empty()) {
    const size_t target = static_cast<size_t>(random.below(static_cast<int64_t>(c.locations.size())));
    const Int3 at = c.location(target, random.below(c.locations[target].shape[0]));
    for (size_t a = 0; a < 3; ++a) w.first[a] = std::max(range.low[a], at[a] - window[a] / 2);
  } else {
    for (size_t a = 0; a < 3; ++a) w.first[a] = range.low[a] + random.below(range.high[a] - range.low[a] + 1);
  }
  return w;
}

void make_batch(const LoaderPlan& plan, int64_t index, Patch& patch, Batch& batch) {
  const int64_t an_epoch = plan.iterations + plan.val_iterations, epoch = index / an_epoch, place = index % an_epoch;
  const bool training = place < plan.iterations;
  const SampleKind& kind = training ? plan.train : plan.val;
  const int64_t number =
      training ? epoch * plan.iterations + place : epoch * plan.val_iterations + place - plan.iterations;
  for (int64_t j = 0; j < plan.batch_size; ++j) {
    // Training and validation samples have streams of their own: changing one count leaves the other's samples alone.
    const uint64_t sample = static_cast<uint64_t>(number * plan.batch_size + j) * 2 + (training ? 0 : 1);
    Random random(plan.seed, sample * kStreamsPerSample);
    patch.source = draw_window(kind.cases, kind.window, plan.patch, forced_foreground(j, plan.batch_size), random);
    run(kind.transforms, plan.seed, sample, patch);
    store(patch, batch.images, batch.labels, j);
    if (plan.sampled) plan.sampled(patch.source);
  }
  patch.stream.synchronize();
}

}  // namespace metvox
