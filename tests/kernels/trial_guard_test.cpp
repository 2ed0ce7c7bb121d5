// SPDX-License-Identifier: Apache-2.0
#include "kernels/trial_guard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>

namespace metvox {
namespace {

namespace fs = std::filesystem;

std::string new_path(const char* name) {
  const fs::path path = fs::path(testing::TempDir()) / ("metvox_mark_" + std::to_string(getpid()) + name);
  fs::remove(path);
  return path;
}
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST(trial_guard, a_mark_stands_in_the_file_while_it_lives) {
  const std::string path = new_path("lives");
  {
    TrialMark mark(path);
    EXPECT_EQ(mark.left_over(), "");
    mark.set("a long name");
    mark.set("short");
    EXPECT_EQ(text_of(path), "short");
  }
  EXPECT_EQ(text_of(path), "");
}

TEST(trial_guard, a_mark_without_its_process_is_left_over) {
  const std::string path = new_path("left_over");
  std::ofstream(path) << "what was tried";
  EXPECT_EQ(TrialMark(path).left_over(), "what was tried");
  EXPECT_EQ(TrialMark(path).left_over(), "");
}

TEST(trial_guard, a_second_mark_waits_for_the_first) {
  const std::string path = new_path("waits");
  auto first = std::make_unique<TrialMark>(path);
  first->set("still running");
  testing::internal::CaptureStderr();
  auto left_over = std::async(std::launch::async, [&] { return TrialMark(path).left_over(); });
  first.reset();
  EXPECT_EQ(left_over.get(), "");
  testing::internal::GetCapturedStderr();  // where it came second in time, it says that it waits
}

TEST(trial_guard, where_no_file_can_be_had_nothing_is_marked) {
  TrialMark none(""), absent("/there/is/no/such/folder/mark");
  for (TrialMark* mark : {&none, &absent}) {
    mark->set("x");
    EXPECT_EQ(mark->left_over(), "");
  }
}

TEST(trial_guard, a_watchdog_barks_once_unless_it_is_gone) {
  std::promise<void> barked;
  const Watchdog quick(0, [&] { barked.set_value(); });
  barked.get_future().wait();
  int barks = 0;
  {
    const Watchdog patient(3600, [&] { ++barks; });
  }
  EXPECT_EQ(barks, 0);
}

}  // namespace metvox
