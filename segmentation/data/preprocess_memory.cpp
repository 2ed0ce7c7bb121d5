// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess_memory.h"

#include <algorithm>

#include "segmentation/data/system_memory.h"

namespace metvox {
namespace {

size_t floats(int64_t n) { return static_cast<size_t>(n) * sizeof(float); }

// Of one configuration, labels on the images' grid included, which are there from the beginning.
size_t case_bytes(const Geometry& g, const Plans& plans, const Configuration& c, const Labels& labels, int64_t held) {
  const auto raw = static_cast<size_t>(g.shape[0] * g.shape[1] * g.shape[2]);
  const int64_t kept = volume(preprocessed_shape(g, plans, c));
  const auto channels = static_cast<int64_t>(c.normalization_schemes.size());
  const size_t sequences = floats(held > 1 ? held : 0) * raw;
  // Beside what there is without labels: the labels, turned, cropped and resampled, and the drawn locations.
  const size_t cropping = sequences + 4 * raw;
  constexpr size_t kLocation = 80;  // bytes of one while they are drawn
  const size_t locations =
      labels.foreground().size() * std::min<size_t>(static_cast<size_t>(kept), 10000 + static_cast<size_t>(kept) / 100);
  const size_t drawing =
      sequences + floats(channels * kept) + 2 * raw + static_cast<size_t>(kept) + kLocation * locations;
  return std::max({preprocess_bytes(g, plans, c, held) + 2 * raw, cropping, drawing});
}

}  // namespace

PreprocessNeeds preprocess_needs(const CaseFiles& files, const Plans& plans,
                                 const std::vector<const Configuration*>& configurations, const Labels& labels) {
  const Geometry g = read_sequence_header(files.images.front()).geometry;
  const auto raw = static_cast<size_t>(g.shape[0] * g.shape[1] * g.shape[2]);
  bool turned = false;
  for (const Path& path : files.images) turned = turned || !same_grid(read_sequence_header(path).geometry, g);
  const auto needs = [&](int64_t held) {
    // Labels are read as numbers, then as bytes, which may have to be turned. At last they are packed.
    const size_t sequences = floats(held > 1 ? held : 0) * raw, reading = sequences + floats(1) * raw + 2 * raw;
    size_t most = std::max(reading, sequences + 2 * raw);
    for (const Configuration* c : configurations)
      most = std::max(most, case_bytes(g, plans, *c, labels, held) + (turned ? floats(1) * raw : 0));
    return most;
  };
  return {files.id, needs(static_cast<int64_t>(files.images.size())), needs(1)};
}

PreprocessPeaks preprocess_peaks(const std::vector<PreprocessNeeds>& cases, size_t there) {
  PreprocessPeaks peaks{there + kProcessRoom, there + kProcessRoom, {}};
  for (const PreprocessNeeds& c : cases) {
    peaks.at_once = std::max(peaks.at_once, there + kProcessRoom + c.at_once_bytes);
    if (there + kProcessRoom + c.one_by_one_bytes <= peaks.one_by_one) continue;
    peaks.one_by_one = there + kProcessRoom + c.one_by_one_bytes;
    peaks.largest = c.id;
  }
  return peaks;
}

bool must_read_one_by_one(const PreprocessPeaks& peaks, size_t limit_bytes) {
  if (peaks.at_once <= limit_bytes) return false;
  if (peaks.one_by_one <= limit_bytes + kProcessJitter) return true;
  const size_t least = mebibytes(peaks.one_by_one);
  fail(Fault::memory, "--max-ram of ", limit_bytes >> 20, " MiB cannot be kept: at least ", least,
       " MiB are needed, for case ", peaks.largest, "; give --max-ram ", least, "M or more");
}

}  // namespace metvox
