// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/sampler.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <cmath>
#include <set>
#include <thread>

namespace metvox {
namespace {

// Cases in memory: the value of a voxel names it, foreground is one voxel.
struct MemoryCase {
  Int3 extent;
  std::vector<float> data;
  std::vector<int8_t> seg;
  std::vector<int32_t> voxels;
  TrainingCase view;
  MemoryCase(const Int3& e, float offset, const Int3& foreground) : extent(e) {
    const int64_t n = volume(e);
    for (int64_t i = 0; i < 2 * n; ++i) data.push_back(offset + static_cast<float>(i));
    seg.assign(static_cast<size_t>(n), 0);
    seg[static_cast<size_t>((foreground[0] * e[1] + foreground[1]) * e[2] + foreground[2])] = 1;
    for (int64_t v : foreground) voxels.push_back(static_cast<int32_t>(v));
    view.extent = e;
    view.data = data.data();
    view.seg = seg.data();
    view.locations = {{voxels.data(), {1, 3}, DType::i32}};
  }
  MemoryCase(const MemoryCase&) = delete;
};

LoaderPlan small_plan(const std::vector<const TrainingCase*>& cases, int workers) {
  LoaderPlan plan;
  const PatchGeometry g = patch_geometry({6, 7, 8});
  plan.train = {cases, g.initial, training_transforms(g, {true, false})};
  plan.val = {cases, g.patch, validation_transforms()};
  plan.channels = 2;
  plan.batch_size = 2;
  plan.patch = g.patch;
  plan.epochs = 3;
  plan.iterations = 4;
  plan.val_iterations = 2;
  plan.seed = 5;
  plan.workers = workers;
  return plan;
}

std::string bytes_of(const Batch& b) {
  const Tensor images = b.images.to({}), labels = b.labels.to({});
  std::string text(static_cast<const char*>(images.view().data), images.bytes());
  return text.append(static_cast<const char*>(labels.view().data), labels.bytes());
}

std::vector<std::string> all_batches(LoaderPlan plan, int64_t first_epoch) {
  plan.first_epoch = first_epoch;
  Loader loader(plan);
  std::vector<std::string> out;
  for (int64_t i = first_epoch * 6; i < 18; ++i) out.push_back(bytes_of(loader.next()));
  return out;
}

}  // namespace

// Python: need_to_pad = initial - final, raised where the case is smaller still; lb = -pad // 2; ub = shape + pad // 2
// + pad % 2 - initial.
TEST(sampler, start_ranges_follow_the_reference) {
  const StartRange large = start_range({144, 181, 142}, {205, 205, 205}, {128, 128, 128});
  EXPECT_EQ(large.low, (Int3{-39, -39, -39}));  // pad 77
  EXPECT_EQ(large.high, (Int3{-22, 15, -24}));
  const StartRange small = start_range({20, 30, 40}, {50, 50, 50}, {48, 48, 48});
  EXPECT_EQ(small.low, (Int3{-15, -10, -5}));  // pad 30, 20, 10
  EXPECT_EQ(small.high, (Int3{-15, -10, -5}));
  const StartRange exact = start_range({50, 60, 70}, {48, 48, 48}, {48, 48, 48});
  EXPECT_EQ(exact.low, (Int3{0, 0, 0}));
  EXPECT_EQ(exact.high, (Int3{2, 12, 22}));
}

TEST(sampler, the_last_third_of_a_batch_is_forced) {
  EXPECT_FALSE(forced_foreground(0, 2));
  EXPECT_TRUE(forced_foreground(1, 2));
  int forced = 0;
  for (int64_t j = 0; j < 14; ++j) forced += forced_foreground(j, 14);
  EXPECT_EQ(forced, 5);                   // round(14 * .67) = 9
  EXPECT_FALSE(forced_foreground(0, 1));  // round(.67) = 1
}

TEST(sampler, forced_windows_hold_the_foreground_in_their_middle) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  for (uint64_t s = 0; s < 20; ++s) {
    Random random(1, s);
    EXPECT_EQ(draw_window({&c.view}, {10, 10, 10}, {6, 6, 6}, true, random).first, (Int3{5, 6, 7}));
  }
  const MemoryCase corner({20, 22, 24}, 0, {0, 0, 23});
  Random random(1, 0);
  // Below the range it is raised, above it is not lowered.
  EXPECT_EQ(draw_window({&corner.view}, {10, 10, 10}, {6, 6, 6}, true, random).first, (Int3{-2, -2, 18}));
}

TEST(sampler, random_windows_cover_their_range) {
  const MemoryCase c({9, 9, 9}, 0, {4, 4, 4});
  std::set<int64_t> seen;
  for (uint64_t s = 0; s < 200; ++s) {
    Random random(1, s);
    seen.insert(draw_window({&c.view}, {6, 6, 6}, {6, 6, 6}, false, random).first[1]);
  }
  EXPECT_EQ(seen, (std::set<int64_t>{0, 1, 2, 3}));
}

TEST(sampler, a_case_without_foreground_gives_random_windows) {
  MemoryCase c({9, 9, 9}, 0, {4, 4, 4});
  c.view.locations.clear();
  Random random(1, 0);
  EXPECT_NO_THROW(draw_window({&c.view}, {6, 6, 6}, {6, 6, 6}, true, random));
}

TEST(sampler, batches_do_not_depend_on_the_workers) {
  const MemoryCase a({20, 22, 24}, 0, {10, 11, 12}), b({5, 30, 17}, 1e5f, {2, 9, 3});
  const auto one = all_batches(small_plan({&a.view, &b.view}, 1), 0);
  EXPECT_EQ(one, all_batches(small_plan({&a.view, &b.view}, 5), 0));
  const auto resumed = all_batches(small_plan({&a.view, &b.view}, 2), 1);
  EXPECT_TRUE(std::equal(resumed.begin(), resumed.end(), one.begin() + 6, one.end()));
  EXPECT_EQ(std::set<std::string>(one.begin(), one.end()).size(), one.size());
}

// The same draws on every device; voxels differ by their roundings.
void expect_the_batches_of_the_cpu(Device device) {
  const MemoryCase a({20, 22, 24}, 0, {10, 11, 12}), b({5, 30, 17}, 1e4f, {2, 9, 3});
  LoaderPlan plan = small_plan({&a.view, &b.view}, 1), there = plan;
  there.make_for(device);
  Loader expected(plan), loader(there);
  for (int64_t i = 0; i < 18; ++i) {
    const Batch &want = expected.next(), &got = loader.next();
    ASSERT_EQ(got.images.device(), device);
    const Tensor images = got.images.to({}), labels = got.labels.to({});
    double apart = 0, whole = 0;
    for (int64_t v = 0; v < images.size(); ++v) {
      const double x = static_cast<double>(want.images.data<float>()[v]);
      apart += std::pow(static_cast<double>(images.data<float>()[v]) - x, 2);
      whole += x * x;
    }
    // Nine transforms, each of which rounds an image some ten times.
    EXPECT_LE(std::sqrt(apart / whole), 90 * 0x1p-24) << "batch " << i;
    for (int64_t v = 0; v < labels.size(); ++v)
      ASSERT_EQ(labels.data<uint8_t>()[v], want.labels.data<uint8_t>()[v]) << "batch " << i << ", label " << v;
  }
  const auto with_workers = [&](int workers) {
    there.workers = workers;
    return all_batches(there, 0);
  };
  EXPECT_EQ(with_workers(1), with_workers(3));
}

TEST(sampler, batches_augmented_on_sim_are_those_of_the_cpu) { expect_the_batches_of_the_cpu({Device::Kind::sim}); }

TEST(sampler, batches_augmented_on_a_gpu_are_those_of_the_cpu) {
  if (device_count(Device::Kind::cuda) == 0) GTEST_SKIP() << "no CUDA device";
  expect_the_batches_of_the_cpu({Device::Kind::cuda});
}

// Workers that never get a core, as on a machine that is busy with other things.
TEST(sampler, the_consumer_helps_itself_when_workers_starve) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  LoaderPlan plan = small_plan({&c.view}, 2);
  const auto expected = all_batches(plan, 0);
  plan.train.transforms.push_back({"starve", 1, [consumer = std::this_thread::get_id()](Patch&, Random&) {
                                     if (std::this_thread::get_id() != consumer)
                                       std::this_thread::sleep_for(std::chrono::milliseconds(400));
                                   }});
  EXPECT_EQ(all_batches(plan, 0), expected);
}

// A stack larger than the address space: no thread can be had.
TEST(sampler, without_threads_the_consumer_does_the_work) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  LoaderPlan plan = small_plan({&c.view}, 2);
  const auto expected = all_batches(plan, 0);
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_attr_init(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 48), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  for (bool yields : {true, false}) {
    plan.yield_to_step = yields;
    EXPECT_EQ(all_batches(plan, 0), expected);
  }
  pthread_setattr_default_np(&before);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&before);
}

TEST(sampler, validation_batches_are_plain_crops) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  const LoaderPlan plan = small_plan({&c.view}, 1);
  Loader loader(plan);
  for (int i = 0; i < 4; ++i) loader.next();
  const Batch& batch = loader.next();
  const float* x = batch.images.data<float>();
  const float first = x[0];
  EXPECT_EQ(x[1], first + 20 * 22 * 24);  // channels last
  EXPECT_EQ(x[2], first + 1);
  EXPECT_EQ(batch.images.shape(), (Shape{2, 2, 6, 7, 8}));
  EXPECT_EQ(batch.labels.data<uint8_t>()[336 + (3 * 7 + 3) * 8 + 4], 1);  // element 1 is centred on foreground
}

TEST(sampler, what_a_worker_throws_reaches_the_caller) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  LoaderPlan plan = small_plan({&c.view}, 2);
  plan.train.transforms.push_back({"broken", 1, [](Patch&, Random&) { fail(Fault::input, "broken on purpose"); }});
  Loader loader(plan);
  EXPECT_THROW(loader.next(), Error);
}

TEST(sampler, a_worker_without_memory_says_what_would_help) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  LoaderPlan plan = small_plan({&c.view}, 2);
  plan.yield_to_step = false;
  plan.train.transforms.push_back({"greedy", 1, [](Patch&, Random&) { throw std::bad_alloc(); }});
  Loader loader(plan);
  try {
    loader.next();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::memory);
    EXPECT_NE(std::string(e.what()).find("fewer --threads"), std::string::npos) << e.what();
  }
}

TEST(sampler, a_loader_ends_with_batches_left) {
  const MemoryCase c({20, 22, 24}, 0, {10, 11, 12});
  Loader unused(small_plan({&c.view}, 3));
  Loader used(small_plan({&c.view}, 3));
  used.next();
}

}  // namespace metvox
