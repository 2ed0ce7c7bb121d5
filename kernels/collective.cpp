// SPDX-License-Identifier: Apache-2.0
#include "kernels/collective.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace metvox {
namespace {

// Where the threads meet: what each brings, on the host; and what made the first one leave for good.
class Meeting {
 public:
  explicit Meeting(int size) : brought(static_cast<size_t>(size)) {}

  void wait_for_all() {
    std::unique_lock lock(mutex_);
    const int64_t round = round_;
    if (!left_ && ++here_ == static_cast<int>(brought.size())) {
      here_ = 0;
      ++round_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return round_ != round || left_; });
    check(round_ != round, "all_reduce: another rank has ended and will not come");
  }
  void leave(std::exception_ptr cause) {
    const std::lock_guard lock(mutex_);
    left_ = true;
    if (!cause_) cause_ = cause;
    changed_.notify_all();
  }
  std::exception_ptr cause() const { return cause_; }

  std::vector<View> brought;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int here_ = 0;
  int64_t round_ = 0;
  bool left_ = false;
  std::exception_ptr cause_;
};

// Elements [first, last) of all views become their sum.
template <class T>
void add_up(const std::vector<View>& views, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    T sum = views[0].as<T>()[i];
    for (size_t k = 1; k < views.size(); ++k) sum += views[k].as<T>()[i];
    for (const View& v : views) v.as<T>()[i] = sum;
  }
}

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
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
    meeting_.wait_for_all();
    bool alike = x.dtype == DType::f32 || x.dtype == DType::f64;  // every rank finds the same, so none waits for ever
    const View of_first = views[0];
    for (const View& v : views) alike &= v.shape == of_first.shape && v.dtype == of_first.dtype;
    const int64_t first = x.size() * rank_ / size(), last = x.size() * (rank_ + 1) / size();
    if (alike && x.dtype == DType::f64) add_up<double>(views, first, last);
    if (alike && x.dtype == DType::f32) add_up<float>(views, first, last);
    meeting_.wait_for_all();
    check(alike, "all_reduce: ranks brought ", of_first.shape, ' ', name_of(of_first.dtype), " and ", x.shape, ' ',
          name_of(x.dtype), ", not one shape of f32 or f64");
  }

  Meeting& meeting_;
  const int rank_;
  std::vector<std::byte> host_;  // for views on other devices
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator&)>& work) {
  Meeting meeting(size);
  const auto run_one = [&](int r) {
    ThreadRank rank(meeting, r);
    std::exception_ptr cause;
    try {
      work(rank);
    } catch (...) {
      cause = std::current_exception();
    }
    meeting.leave(cause);
  };
  {
    std::vector<std::jthread> threads;
    for (int r = 0; r < size; ++r) threads.emplace_back(run_one, r);
  }
  if (meeting.cause()) std::rethrow_exception(meeting.cause());
}

}  // namespace metvox
