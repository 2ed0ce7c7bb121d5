// SPDX-License-Identifier: Apache-2.0
// Work recorded on the GPU and replayed, as CUDA graphs do; and work that cannot be recorded.
#include "tensor/replay.h"

#include "kernels/sim/capture.h"
#include "tensor/async.h"
#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {
namespace {

using test::in_double;
using test::kGpu;
using test::on_gpu;

constexpr int kRuns = 5;

Tensor counted(const char* name) {
  Tensor t = Tensor::empty({100}, DType::f64);
  for (int64_t i = 0; i < 100; ++i) t.data<double>()[i] = static_cast<double>(i);
  return on_gpu(t, DType::f32, name);
}

// x += y, a piece of work that is different each time it is done.
void expect_sum(const Tensor& x) {
  const Tensor got = in_double(x);
  for (int64_t i = 0; i < 100; ++i)
    ASSERT_EQ(got.data<double>()[i], static_cast<double>((1 + kRuns) * i)) << "after " << kRuns << " runs";
}

TEST(replay, records_the_second_run_and_replays_it) {
  const Tensor x = counted("x"), y = counted("y");
  Stream stream(kGpu);
  Replay replay;
  int calls = 0;
  const simt::Counts before = simt::counts();
  for (int run = 0; run < kRuns; ++run)
    replay.run(stream, [&] {
      ++calls;
      const NamedRange range(kGpu, "sum");
      add(stream, x.view(), y.view(), x.view());
    });
  EXPECT_EQ(calls, 2);
  if (test::kSimulated) {
    EXPECT_EQ(simt::counts().kept - before.kept, 1);
    EXPECT_EQ(simt::counts().replayed - before.replayed, kRuns - 1);
  }
  expect_sum(x);
}

TEST(replay, goes_on_without_where_memory_is_taken_or_the_host_waits) {
  for (const bool waits : {false, true}) {
    const Tensor x = counted("x"), y = counted("y");
    Stream stream(kGpu);
    Replay replay;
    int calls = 0;
    testing::internal::CaptureStderr();
    for (int run = 0; run < kRuns; ++run)
      replay.run(stream, [&] {
        ++calls;
        if (waits) stream.synchronize();
        else Tensor::empty({8}, DType::f32, kGpu);
        add(stream, x.view(), y.view(), x.view());
      });
    const std::string told = testing::internal::GetCapturedStderr();
    if (!waits) EXPECT_NE(told.find("a step cannot be recorded"), std::string::npos) << told;
    else EXPECT_EQ(told, "") << "once is enough";
    EXPECT_EQ(calls, kRuns + 1);  // one of them recorded in vain
    expect_sum(x);
  }
}

// A stream that is being recorded already cannot be recorded once more.
TEST(replay, goes_on_without_where_recording_cannot_begin) {
  if (!test::kSimulated) GTEST_SKIP() << "on a GPU the test's own recording would have to take the work";
  Stream stream(kGpu);
  Replay replay;
  int calls = 0;
  const auto count = [&] { ++calls; };
  replay.run(stream, count);
  simt::begin_capture();
  replay.run(stream, count);
  delete simt::end_capture();
  replay.run(stream, count);
  EXPECT_EQ(calls, 3);
}

TEST(replay, does_the_work_each_time_on_the_cpu) {
  Stream host;
  Replay replay;
  int calls = 0;
  for (int run = 0; run < kRuns; ++run) replay.run(host, [&] { ++calls; });
  EXPECT_EQ(calls, kRuns);
}

// Recorded work may be given to any stream of the device, and outlives the stream that it was recorded on.
TEST(replay, is_given_to_any_stream) {
  const Tensor x = counted("x"), y = counted("y");
  Replay replay;
  for (int run = 0; run < kRuns; ++run) {
    Stream stream(kGpu);
    replay.run(stream, [&] { add(stream, x.view(), y.view(), x.view()); });
    stream.synchronize();
  }
  expect_sum(x);
}

}  // namespace
}  // namespace metvox
