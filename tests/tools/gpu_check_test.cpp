// SPDX-License-Identifier: Apache-2.0
// tools/gpu-check.sh where there is no GPU: every stage says so, and nothing fails.
#include <gtest/gtest.h>

#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

struct Script {
  int code = -1;
  std::string out;
};

Script gpu_check(const std::string& arguments) {
  const Path log = fresh_folder("log") / "out";
  const std::string command =
      "bash " METVOX_SOURCE_DIR "/tools/gpu-check.sh " + arguments + " > " + log.string() + " 2>&1";
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), read_text(log)};
}

bool has_gpu() { return std::system("nvidia-smi -L 2>/dev/null | grep -q .") == 0; }

}  // namespace

TEST(gpu_check, skips_every_stage_without_a_gpu) {
  if (has_gpu()) GTEST_SKIP() << "there is a GPU here: the script would build";
  const Path out = fresh_folder("out");
  const Script script = gpu_check(out.string() + " full");
  EXPECT_EQ(script.code, 0) << script.out;
  for (const char* stage :
       {"device", "build", "conformance", "tests", "sanitizer", "bench", "rivals", "train", "profile"}) {
    EXPECT_NE(script.out.find(std::string(stage) + " "), std::string::npos) << stage;
    EXPECT_TRUE(std::filesystem::exists(out / (std::string(stage) + ".log"))) << stage;
  }
  EXPECT_EQ(script.out.substr(script.out.rfind('\n', script.out.size() - 2) + 1), "0 passed, 0 failed\n");
  EXPECT_EQ(gpu_check(out.string() + " quick conformance").code, 0);
}

TEST(gpu_check, refuses_a_stage_that_there_is_not) {
  const Script script = gpu_check(fresh_folder("out").string() + " quick magic");
  EXPECT_EQ(script.code, 2);
  EXPECT_NE(script.out.find("there is no stage \"magic\""), std::string::npos) << script.out;
}

}  // namespace metvox
