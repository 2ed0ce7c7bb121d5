// SPDX-License-Identifier: Apache-2.0
#include "io/files.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "io_testing.h"
#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// Half noise, half runs, so that both stored and compressed blocks occur.
Bytes sample(size_t size) {
  Bytes bytes(size);
  Random random(7, 1);
  for (size_t n = 0; n < size; ++n) bytes[n] = static_cast<std::byte>(n / 1000 % 2 ? random.bits() : n / 300);
  return bytes;
}

Bytes of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST(files, text_comes_back) {
  Scratch scratch;
  write_text(scratch / "a.txt", "metastasis\n");
  EXPECT_EQ(read_text(scratch / "a.txt"), "metastasis\n");
  write_text(scratch / "a.txt", "");
  EXPECT_EQ(read_text(scratch / "a.txt"), "");
  EXPECT_EQ(scratch.files(), 1u);
}

TEST(files, refusals_name_the_path) {
  Scratch scratch;
  EXPECT_TRUE(refused([&] { read_bytes(scratch / "none"); }, (scratch / "none").string() + ": No such file"));
  EXPECT_TRUE(refused([&] { read_bytes(scratch.folder()); }, "it is a folder, not a file"));
  EXPECT_TRUE(refused([&] { write_text(scratch / "no/file", "x"); },
                      "cannot make a file in the folder " + (scratch / "no").string()));
  EXPECT_TRUE(refused([&] { write_text("/dev/null", "x"); }, "not a regular file"));
  EXPECT_TRUE(refused([&] { write_text(scratch.folder(), "x"); }, "not a regular file"));
}

TEST(files, uncommitted_file_leaves_nothing) {
  Scratch scratch;
  write_text(scratch / "a", "old");
  {
    AtomicFile file(scratch / "a");
    file.write("new", 3);
    EXPECT_EQ(scratch.files(), 2u);
  }
  EXPECT_EQ(scratch.files(), 1u);
  EXPECT_EQ(read_text(scratch / "a"), "old");
}

TEST(files, slots_of_temporaries_are_given_back) {
  Scratch scratch;
  for (int n = 0; n < 600; ++n) AtomicFile(scratch / "a").write("x", 1);
  EXPECT_EQ(scratch.files(), 0u);
}

TEST(files, signal_handler_removes_temporaries) {
  Scratch scratch;
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGTERM, [](int) {
      remove_temporaries();
      _exit(0);
    });
    AtomicFile a(scratch / "a"), b(scratch / "b");
    a.write("x", 1);
    b.commit();
    std::raise(SIGTERM);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::exists(scratch / "b"));
  EXPECT_EQ(scratch.files(), 1u);
}

// A limit on file size stands in for a full disk: both make write() fail half way.
TEST(files, full_disk_leaves_nothing) {
  Scratch scratch;
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string text = refusal([&] { write_bytes(scratch / "big", sample(300000)); });
    _exit(text.find("big: File too large; nothing was kept") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(scratch.files(), 0u);
}

TEST(files, gzip_comes_back_at_every_size) {
  for (size_t size : {0, 1, 1000, 262143, 262144, 262145, 1000000}) {
    const Bytes plain = sample(size);
    EXPECT_EQ(gunzip(gzip(plain), plain.size(), "memory"), plain) << size;
  }
}

TEST(files, gzip_does_not_depend_on_threads) {
  const Bytes plain = sample(1500000);
  const int before = threads();
  set_threads(1);
  const Bytes one = gzip(plain);
  set_threads(5);
  const Bytes five = gzip(plain);
  set_threads(before);
  EXPECT_EQ(one, five);
  EXPECT_LT(one.size(), plain.size() * 6 / 10);
}

TEST(files, gunzip_reads_members_and_padding) {
  Bytes two = gzip(of("first, "));
  const Bytes second = gzip(of("second"));
  two.insert(two.end(), second.begin(), second.end());
  EXPECT_EQ(gunzip(two, 100, "memory"), of("first, second"));
  two.insert(two.end(), 512, std::byte{0});
  EXPECT_EQ(gunzip(two, 100, "memory"), of("first, second"));
  two.insert(two.end(), 20, std::byte{'x'});
  EXPECT_TRUE(refused([&] { gunzip(two, 100, "memory"); }, "memory: the gzip stream is corrupt"));
}

TEST(files, gunzip_refuses_what_is_damaged) {
  const Bytes plain = sample(100000), whole = gzip(plain);
  for (size_t keep : {size_t{0}, size_t{1}, size_t{9}, whole.size() / 2, whole.size() - 1})
    EXPECT_TRUE(refused([&] { gunzip(std::span(whole).first(keep), plain.size(), "f.gz"); },
                        "f.gz: the gzip stream is truncated"))
        << keep;
  for (size_t at : {whole.size() / 2, whole.size() - 6, whole.size() - 1}) {
    Bytes damaged = whole;
    damaged[at] ^= std::byte{0x10};
    EXPECT_TRUE(refused([&] { gunzip(damaged, plain.size() + 1000000, "f.gz"); }, "f.gz: the gzip stream is")) << at;
  }
  EXPECT_TRUE(refused([&] { gunzip(whole, plain.size() - 1, "f.gz"); }, "decompresses to more than the 99999 bytes"));
}

TEST(files, input_file_reads_plain_and_gzip_alike) {
  Scratch scratch;
  const Bytes plain = sample(700000);
  write_bytes(scratch / "plain", plain);
  write_bytes(scratch / "packed", gzip(plain));
  for (const char* name : {"plain", "packed"}) {
    InputFile file(scratch / name);
    EXPECT_GE(file.most_bytes(), plain.size());
    Bytes got(plain.size() + 10);
    EXPECT_EQ(file.read(got.data(), 100), 100u);
    EXPECT_EQ(file.skip(70000), 70000u);
    EXPECT_EQ(file.read(got.data() + 70100, got.size() - 70100), plain.size() - 70100);
    EXPECT_EQ(file.read(got.data(), 1), 0u);
    EXPECT_TRUE(std::equal(plain.begin() + 70100, plain.end(), got.begin() + 70100));
  }
}

}  // namespace metvox
