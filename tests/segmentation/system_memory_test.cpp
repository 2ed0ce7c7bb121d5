// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/system_memory.h"

#include "fake_model.h"

namespace metvox {
namespace {

constexpr size_t kMiB = 1 << 20;

void put(const Path& path, const std::string& text) {
  make_folder(path.parent_path());
  write_text(path, text);
}

// A machine of 1000 MiB, 600 of them available.
Path machine() {
  const Path root = fresh_dir("root");
  put(root / "proc/meminfo", "MemTotal:     1024000 kB\nMemFree:   1000 kB\nMemAvailable:  614400 kB\n");
  return root;
}

void put_group(const Path& folder, bool v2, size_t limit_mib, size_t usage_mib, size_t pages_mib) {
  put(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"), std::to_string(limit_mib * kMiB) + "\n");
  put(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"), std::to_string(usage_mib * kMiB) + "\n");
  put(folder / "memory.stat",
      sentence("anon 1\n", v2 ? "inactive_file " : "total_inactive_file ", pages_mib * kMiB, "\nunevictable 0\n"));
}

void expect_mib(const Path& root, size_t total, size_t available) {
  const SystemMemory m = system_memory(root);
  EXPECT_EQ(m.total, total * kMiB);
  EXPECT_EQ(m.available, available * kMiB);
}

}  // namespace

TEST(system_memory, is_the_machines_without_groups) {
  expect_mib(machine(), 1000, 600);
  EXPECT_EQ(system_memory(fresh_dir("nothing")).total, 0u);
}

TEST(system_memory, is_bounded_by_the_group_and_those_above_it) {
  const Path root = machine();
  put(root / "proc/self/cgroup", "0::/user/job\n");
  const Path mount = root / "sys/fs/cgroup";
  put(mount / "user/job/memory.max", "max\n");
  expect_mib(root, 1000, 600);
  put_group(mount / "user", true, 500, 300, 100);
  expect_mib(root, 500, 300);
  put_group(mount / "user/job", true, 400, 390, 0);
  expect_mib(root, 400, 10);
}

TEST(system_memory, knows_the_older_groups_and_a_container_that_hides_their_path) {
  const Path root = machine(), mount = root / "sys/fs/cgroup/memory";
  put(root / "proc/self/cgroup", "3:cpuset:/\n4:memory:/docker/0a1b\n0::/\n");
  put_group(mount, false, 200, 150, 50);
  expect_mib(root, 200, 100);
  put_group(mount / "docker/0a1b", false, 100, 120, 0);
  expect_mib(root, 100, 0);
}

TEST(system_memory, says_both_numbers) {
  const SystemMemory memory{1000 * kMiB, 600 * kMiB};
  EXPECT_EQ(memory_warning("training", 600 * kMiB, memory), "");
  const std::string warning = memory_warning("training", 700 * kMiB, memory);
  EXPECT_NE(warning.find("700 MiB, but 600 MiB"), std::string::npos) << warning;
  require_memory("training", 1000 * kMiB, memory);
  try {
    require_memory("training", 1001 * kMiB, memory);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::memory);
    EXPECT_NE(std::string(e.what()).find("training needs 1001 MiB"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("has 1000 MiB"), std::string::npos) << e.what();
  }
  require_memory("training", 1001 * kMiB, {});
}

TEST(system_memory, this_process_has_some) {
  EXPECT_GT(resident_bytes().now, 0u);
  EXPECT_GE(resident_bytes().most, resident_bytes().now);
  EXPECT_EQ(mebibytes(kMiB), 1u);
  EXPECT_EQ(mebibytes(kMiB + 1), 2u);
}

}  // namespace metvox
