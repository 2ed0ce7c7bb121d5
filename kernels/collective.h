// SPDX-License-Identifier: Apache-2.0
// Ranks: several runs of one program, each on its part of a batch, that add up what they have found. A null pointer to
// a Communicator means alone.
#pragma once
#include <functional>

#include "tensor/tensor.h"

namespace metvox {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;
  // x becomes the sum of all ranks' x (f32 or f64, of one shape and type), added in the order of ranks: the same bits
  // on each rank and each time. All ranks call it as often and in the same order; each waits for all.
  virtual void all_reduce(Stream&, View x) = 0;
};

// Runs work(rank) for ranks 0 .. size - 1, each on a thread of its own. Where one throws or returns while others still
// meet, their all_reduce throws an Error; the first exception is thrown again when all threads have ended.
void run_ranks(int size, const std::function<void(Communicator&)>& work);

}  // namespace metvox
