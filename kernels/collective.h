// SPDX-License-Identifier: Apache-2.0
// Ranks: several runs of one program, each on its part of a batch, that add up what they have found. A null pointer to
// a Communicator means alone.
#pragma once
#include <memory>
#include <vector>

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

// Ranks that are threads of one process; of one thread, too. Thread r works with ranks[r], which must not outlive this.
// Where one of them stops, the others wait for ever.
class ThreadRanks {
 public:
  explicit ThreadRanks(int size);
  ~ThreadRanks();
  Communicator& operator[](int rank);

 private:
  struct Meeting;
  class Rank;
  std::unique_ptr<Meeting> meeting_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace metvox
