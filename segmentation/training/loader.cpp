// SPDX-License-Identifier: Apache-2.0
// The worker threads of sampler.h: batches are claimed in order and land in a ring; the consumer takes them in order.
// Workers that yield starve where other programs keep every core busy, so a consumer that has waited too long makes its
// batch itself: the same bits, since a batch is a function of its number.
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "segmentation/training/sampler.h"
#include "tensor/async.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// A thread inherits the one core to which OpenMP has bound its creator: back to every core that OpenMP uses.
void use_all_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> ids(static_cast<size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, ids.data());
    for (int id : ids) CPU_SET(static_cast<size_t>(id), &cores);
  }
  if (CPU_COUNT(&cores) > 0) pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}

// Only what other threads leave: the idle policy, or where it is forbidden the lowest priority.
void yield_to_others() {
  sched_param none{};
  if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) != 0) setpriority(PRIO_PROCESS, 0, 19);
}

double thread_cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

constexpr double kFirstPatience_s = 0.5, kPatienceInBatches = 4;
constexpr int kWorkersOfAGpu = 4;  // each holds two windows and a patch, and the step needs the device's memory

Patch make_patch(const LoaderPlan& plan) {
  return Patch(plan.channels, plan.patch, plan.previous_labels, plan.made_on(), plan.largest_window());
}

Batch empty_batch(const LoaderPlan& plan) {
  const Int3& p = plan.patch;
  const Shape images{plan.batch_size, plan.channels + plan.previous_labels, p[0], p[1], p[2]};
  return {Tensor::empty(images, DType::f32, plan.made_on(), "images"),
          Tensor::empty({plan.batch_size, p[0], p[1], p[2]}, DType::u8, plan.made_on(), "labels")};
}

}  // namespace

void LoaderPlan::make_for(Device step_device) {
  device = step_device;
  yield_to_step = device.is_cpu();
  workers = made_on().is_cpu() ? threads() : std::min(threads(), kWorkersOfAGpu);
}

// Where workers may starve, the consumer has a batch and a patch of its own.
size_t LoaderPlan::bytes() const {
  const size_t voxels = static_cast<size_t>(batch_size * volume(patch));
  const size_t own = yield_to_step ? 1 : 0;
  return (static_cast<size_t>(slots()) + own) * voxels *
             (static_cast<size_t>(channels + previous_labels) * sizeof(float) + 1) +
         (static_cast<size_t>(workers) + own) * Patch::bytes(channels, patch, previous_labels, made_on(),
                                                             largest_window(), augmentation == Augmentation::bg1);
}

struct Loader::Impl {
  LoaderPlan plan;
  std::vector<Batch> ring;
  std::vector<Pinned> pinned;
  std::vector<int64_t> filled;  // the batch that lies in each slot, -1: none yet
  std::vector<bool> busy;       // a worker writes to the slot
  Batch own;                    // made by the consumer, where workers may starve or there are none
  std::optional<Patch> own_patch;
  double patience_s = kFirstPatience_s;
  std::mutex mutex;
  std::condition_variable room, ready;
  int64_t claimed, next, last;
  int64_t released;  // batches below this one have been used up
  bool stop = false;
  std::exception_ptr error;
  std::vector<std::thread> workers;

  explicit Impl(LoaderPlan p) : plan(std::move(p)) {
    const int64_t an_epoch = plan.iterations + plan.val_iterations;
    claimed = next = released = plan.first_epoch * an_epoch;
    last = plan.epochs * an_epoch;
    for (int64_t i = 0; i < plan.slots(); ++i) ring.push_back(empty_batch(plan));
    if (plan.made_on().is_cpu())
      for (const Batch& batch : ring)
        for (const Tensor& t : {batch.images, batch.labels}) pinned.emplace_back(t, plan.device);
    filled.assign(ring.size(), -1);
    busy.assign(ring.size(), false);
    if (plan.yield_to_step) prepare_to_help();
    start_workers();
    if (workers.empty() && !own_patch) prepare_to_help();
  }

  void prepare_to_help() {
    own = empty_batch(plan);
    own_patch.emplace(make_patch(plan));
  }

  // Where the machine gives no more threads, those that there are do the work, or the consumer alone.
  void start_workers() {
    workers.reserve(static_cast<size_t>(plan.workers));
    try {
      for (int w = 0; w < plan.workers; ++w) workers.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
    if (workers.empty()) patience_s = 0;
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    room.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  size_t slot(int64_t batch) const { return static_cast<size_t>(batch) % ring.size(); }
  bool has_room() const { return claimed < released + static_cast<int64_t>(ring.size()) && !busy[slot(claimed)]; }

  void work() {
    try {
      set_threads(1);
      use_all_cores();
      if (plan.yield_to_step) yield_to_others();
      Patch patch = make_patch(plan);
      std::unique_lock lock(mutex);
      for (;;) {
        room.wait(lock, [&] { return stop || claimed == last || has_room(); });
        if (stop || claimed == last) return;
        const int64_t batch = claimed++;
        busy[slot(batch)] = true;
        lock.unlock();
        const double before = thread_cpu_seconds();
        make_batch(plan, batch, patch, ring[slot(batch)]);
        const double spent = thread_cpu_seconds() - before;
        lock.lock();
        patience_s = kPatienceInBatches * spent;
        busy[slot(batch)] = false;
        filled[slot(batch)] = batch;
        ready.notify_all();
        room.notify_all();
      }
    } catch (const std::bad_alloc&) {
      give_up(std::make_exception_ptr(
          Error(Fault::memory, sentence("out of memory while making a batch; the loader takes ", plan.bytes() >> 20,
                                        " MiB with ", plan.workers, " threads: give it fewer --threads"))));
    } catch (...) {
      give_up(std::current_exception());
    }
  }

  void give_up(std::exception_ptr why) {
    const std::lock_guard lock(mutex);
    error = std::move(why);
    stop = true;
    ready.notify_all();
    room.notify_all();
  }
};

Loader::Loader(LoaderPlan plan) : impl_(std::make_unique<Impl>(std::move(plan))) {}
Loader::~Loader() = default;

const Batch& Loader::next() {
  Impl& s = *impl_;
  std::unique_lock lock(s.mutex);
  check(s.next < s.last, "Loader: all ", s.last, " batches have been taken");
  s.released = s.next;  // what the last call gave is used up
  s.room.notify_all();
  const auto there = [&] { return s.filled[s.slot(s.next)] == s.next || s.error; };
  if (!s.plan.yield_to_step && !s.workers.empty()) {
    s.ready.wait(lock, there);
  } else if (!s.ready.wait_for(lock, std::chrono::duration<double>(s.patience_s), there)) {
    const int64_t batch = s.next++;
    s.claimed = std::max(s.claimed, s.next);
    lock.unlock();
    make_batch(s.plan, batch, *s.own_patch, s.own);
    return s.own;
  }
  if (s.filled[s.slot(s.next)] != s.next) std::rethrow_exception(s.error);
  return s.ring[s.slot(s.next++)];
}

}  // namespace metvox
