// SPDX-License-Identifier: Apache-2.0
// The preprocessed cases of a fold, mapped into memory where they lie on disk.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace metvox {

struct TrainingCase {
  std::string id;
  Int3 extent{};
  const float* data = nullptr;       // (C, z, y, x)
  const int8_t* seg = nullptr;       // (z, y, x)
  std::vector<View> locations;       // i32 (n, 3), one a region or label that occurs; may lie at odd addresses
  const int8_t* previous = nullptr;  // (z, y, x), of the previous stage
  Int3 location(size_t target, int64_t i) const;
};

// Case ids of a folder of preprocessed cases, sorted. Throws Error (Fault::input) when there are none.
std::vector<std::string> preprocessed_ids(const Path& folder);

class TrainingCases {
 public:
  // Throws Error (Fault::input) on a file that lacks labels or does not have `channels` channels. `previous`: the
  // folder of what the previous stage of a cascade said of the cases; each has to have its CASE.safetensors there.
  // resident: hold them in memory, unless they take more than half of the machine's.
  TrainingCases(const Path& folder, const std::vector<std::string>& ids, int64_t channels, const Path& previous = {},
                bool resident = true);
  std::vector<const TrainingCase*> find(const std::vector<std::string>& ids) const;
  size_t bytes() const { return bytes_; }
  size_t largest_bytes() const { return largest_bytes_; }  // of one case
  // The system may have back what is in memory of the case that begins with `data`; it is read again when needed.
  void give_back(const float* data) const;
  // Are all of them held in memory? Else they are read from disk as they are needed.
  bool resident() const { return resident_; }

 private:
  void add_previous(const Path& path, TrainingCase& c);
  size_t bytes_ = 0, largest_bytes_ = 0;
  bool resident_ = false;
  std::vector<std::unique_ptr<MappedSafeTensors>> files_;
  std::vector<TrainingCase> cases_;
};

}  // namespace metvox
