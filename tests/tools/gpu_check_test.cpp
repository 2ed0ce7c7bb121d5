// SPDX-License-Identifier: Apache-2.0
// tools/gpu-check.sh where there is no GPU: every stage says so, and nothing fails. With stand-ins for the GPU and the
// programs: what hangs is stopped, a suite that fails leaves the others alone, and changed sources run again. And
// cmake/report_spills.sh on what ptxas says.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

struct Script {
  int code = -1;
  std::string out;
};

Script shell(const std::string& command) {
  const Path log = fresh_folder("log") / "out";
  const int status = std::system((command + " > " + log.string() + " 2>&1").c_str());
  return {WEXITSTATUS(status), read_text(log)};
}

Script gpu_check(const std::string& arguments, const std::string& environment = "") {
  return shell(environment + " bash " METVOX_SOURCE_DIR "/tools/gpu-check.sh " + arguments);
}

void write_program(const Path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
}

// A GPU of capability 9.0, a second for each limit of time, and programs of which test_sim has the suites good, bad
// (which fails) and last; $FOLDER/ran tells which of them ran.
std::string stand_ins(const Path& folder) {
  write_program(folder / "bin/nvidia-smi", "echo 9.0");
  write_program(folder / "bin/timeout", "shift 2; exec /usr/bin/timeout 1 \"$@\"");
  write_program(folder / "build/metvox", "exit 0");
  write_program(folder / "build/tests/test_segmentation", "exit 0");
  write_program(folder / "build/tests/kernels/conformance/test_conformance", "sleep 60");
  write_program(folder / "build/tests/kernels/sim/test_sim",
                "case \"$*\" in *list_tests*) printf 'good.\\n  a\\nbad.\\n  b\\nlast.\\n  c\\n';; *) echo \"$*\" >>" +
                    (folder / "ran").string() + "; case \"$*\" in *bad*) exit 1;; esac;; esac");
  return "PATH=" + (folder / "bin").string() + ":$PATH METVOX_BUILD=" + (folder / "build").string();
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

TEST(gpu_check, stops_what_hangs) {
  const Path folder = fresh_folder("stand-ins");
  const Script script = gpu_check((folder / "out").string() + " conformance", stand_ins(folder));
  EXPECT_EQ(script.code, 6);
  EXPECT_NE(script.out.find("stopped after 300 s"), std::string::npos) << script.out;
  EXPECT_FALSE(std::filesystem::exists(folder / "out/conformance.passed"));
}

TEST(gpu_check, runs_the_other_suites_where_one_fails) {
  const Path folder = fresh_folder("stand-ins");
  const Script script = gpu_check((folder / "out").string() + " tests", stand_ins(folder));
  EXPECT_EQ(script.code, 6);
  EXPECT_NE(script.out.find("kernel tests that failed: bad\n"), std::string::npos) << script.out;
  EXPECT_EQ(read_text(folder / "ran"),
            "--gtest_brief=1 --gtest_filter=good.*\n--gtest_brief=1 --gtest_filter=bad.*\n"
            "--gtest_brief=1 --gtest_filter=last.*\n");
}

TEST(gpu_check, runs_again_what_passed_on_other_sources) {
  const Path folder = fresh_folder("stand-ins"), out = folder / "out";
  const std::string environment = stand_ins(folder);
  for (const char* program : {"cmake", "ninja", "ccache"}) write_program(folder / "bin" / program, "exit 0");
  write_program(folder / "build/tests/kernels/conformance/test_conformance", "exit 1");  // where the script ends
  gpu_check(out.string() + " quick", environment);
  const std::string stamp = read_text(out / "build.passed");
  EXPECT_EQ(stamp.size(), 65u) << stamp;
  EXPECT_NE(gpu_check(out.string() + " quick", environment).out.find("before; see build.log"), std::string::npos);
  std::ofstream(out / "build.passed") << std::string(64, '0') << '\n';
  const Script again = gpu_check(out.string() + " quick", environment);
  EXPECT_EQ(again.out.find("before; see build.log"), std::string::npos) << again.out;
  EXPECT_EQ(read_text(out / "build.passed"), stamp);
}

// As ptxas 13.0 says it.
TEST(report_spills, names_kernels_that_spill_and_those_whose_wgmma_waits) {
  const Path folder = fresh_folder("ptxas");
  const std::string quiet =
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function '_Z5marchv' for 'sm_90a'\n"
      "ptxas info    : Function properties for _Z5marchv\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";
  const std::string waits =
      "ptxas info    : (C7519) warpgroup.arrive is injected in around line 60 by compiler to allow use of registers in "
      "GMMA in function '_Z5marchv'\n";
  const std::string serial =
      "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
      "insufficient register resources for the wgmma pipeline in the function '_Z5marchv'\n";
  const std::string spills =
      "ptxas info    : Compiling entry function '_Z5marchv' for 'sm_90a'\n"
      "    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n";
  const auto report = [&](const char* strict, const std::string& told) {
    std::ofstream(folder / "told") << told;
    write_program(folder / "compiler", "cat " + (folder / "told").string() + " >&2");
    return shell("sh " METVOX_SOURCE_DIR "/cmake/report_spills.sh " + std::string(strict) + " " +
                 (folder / "compiler").string());
  };
  EXPECT_EQ(report("ON", quiet).code, 0);
  EXPECT_EQ(report("ON", quiet).out, "");
  for (const std::string& told : {waits + quiet, serial + quiet, spills}) {
    const Script strict = report("ON", told), lenient = report("OFF", told);
    EXPECT_EQ(strict.code, 1) << told;
    EXPECT_EQ(lenient.code, 0) << told;
    EXPECT_EQ(strict.out, lenient.out);
    EXPECT_NE(strict.out.find("march"), std::string::npos) << strict.out;
  }
}

}  // namespace metvox
