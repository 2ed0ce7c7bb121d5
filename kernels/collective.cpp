// SPDX-License-Identifier: Apache-2.0
#include "kernels/collective.h"

#include <barrier>

namespace metvox {

// Where the threads meet: what each brings, on the host.
struct ThreadRanks::Meeting {
  explicit Meeting(int size) : here(size), brought(static_cast<size_t>(size)) {}
  std::barrier<> here;
  std::vector<View> brought;
};

namespace {

// Elements [first, last) of all views become their sum.
template <class T>
void add_up(const std::vector<View>& views, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    T sum = views[0].as<T>()[i];
    for (size_t k = 1; k < views.size(); ++k) sum += views[k].as<T>()[i];
    for (const View& v : views) v.as<T>()[i] = sum;
  }
}

}  // namespace

class ThreadRanks::Rank final : public Communicator {
 public:
  Rank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.brought.size()); }

  void all_reduce(Stream& stream, View x) override {
    if (x.device.is_cpu()) return meet(x);
    host_.resize(x.bytes());
    const View copy{host_.data(), x.shape, x.dtype};
    transfer(stream, x, copy);
    meet(copy);
    transfer(stream, copy, x);
  }

 private:
  void meet(View x) {
    std::vector<View>& views = meeting_.brought;
    views[rank_] = x;
    meeting_.here.arrive_and_wait();
    bool alike = x.dtype == DType::f32 || x.dtype == DType::f64;  // every rank finds the same, so none waits for ever
    const View of_first = views[0];
    for (const View& v : views) alike &= v.shape == of_first.shape && v.dtype == of_first.dtype;
    const int64_t first = x.size() * rank_ / size(), last = x.size() * (rank_ + 1) / size();
    if (alike && x.dtype == DType::f64) add_up<double>(views, first, last);
    if (alike && x.dtype == DType::f32) add_up<float>(views, first, last);
    meeting_.here.arrive_and_wait();
    check(alike, "all_reduce: ranks brought ", of_first.shape, ' ', name_of(of_first.dtype), " and ", x.shape, ' ',
          name_of(x.dtype), ", not one shape of f32 or f64");
  }

  Meeting& meeting_;
  const int rank_;
  std::vector<std::byte> host_;  // for views on other devices
};

ThreadRanks::ThreadRanks(int size) : meeting_(std::make_unique<Meeting>(size)) {
  for (int r = 0; r < size; ++r) ranks_.push_back(std::make_unique<Rank>(*meeting_, r));
}
ThreadRanks::~ThreadRanks() = default;
Communicator& ThreadRanks::operator[](int rank) { return *ranks_[rank]; }

}  // namespace metvox
