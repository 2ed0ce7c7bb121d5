// SPDX-License-Identifier: Apache-2.0
#include "io/files.h"

#include <libdeflate.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "io_testing.h"
#include "tensor/random.h"

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

TEST(files, gzip_compresses_into_one_member_without_a_time) {
  const Bytes plain = sample(1500000), packed = gzip(plain);
  EXPECT_LT(packed.size(), plain.size() * 6 / 10);
  EXPECT_EQ(packed, gzip(plain));
  for (size_t at : {3, 4, 5, 6, 7}) EXPECT_EQ(packed[at], std::byte{0}) << at;  // flags, time
  EXPECT_EQ(packed[2], std::byte{8});
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

// A member with an extra field, as bgzip writes it, a name, a comment and a checksum of its header, behind another that
// is padded so that the border between two reads of the file lies anywhere in the header or beside it.
TEST(files, a_header_may_lie_across_two_reads) {
  constexpr size_t kRead = size_t{1} << 16;
  Bytes header = of({"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x04\0BC\x01\0name\0comment\0", 29});
  const uint32_t sum = libdeflate_crc32(0, header.data(), header.size());
  for (const int shift : {0, 8}) header.push_back(static_cast<std::byte>(sum >> shift));
  const Bytes second = gzip(of("second"));
  header.insert(header.end(), second.begin() + 10, second.end());
  Scratch scratch;
  for (size_t before = kRead - header.size() - 1; before <= kRead + 1; ++before) {
    Bytes file = gzip(of("first, "));
    file.resize(before);
    file.insert(file.end(), header.begin(), header.end());
    write_bytes(scratch / "a", file);
    char got[100] = {};
    EXPECT_EQ(InputFile(scratch / "a").read(got, sizeof got), 13u) << before;
    EXPECT_STREQ(got, "first, second") << before;
    file[before + 17] ^= std::byte{1};  // in the name
    write_bytes(scratch / "a", file);
    EXPECT_TRUE(refused([&] { InputFile(scratch / "a").read(got, sizeof got); }, "corrupt")) << before;
  }
}

// Bits that are turned are noticed, but for those that pad a stored block.
TEST(files, a_turned_bit_never_gives_other_bytes) {
  Random random(11, 1);
  int refusals = 0;
  for (int level = 0; level <= 9; ++level)
    for (const size_t size : {1, 300, 70000}) {
      const Bytes plain = sample(size), packed = gzip(plain, level);
      EXPECT_EQ(gunzip(packed, size, "f.gz"), plain) << level;
      for (int k = 0; k < 20; ++k) {
        Bytes other = packed;
        const auto at = static_cast<size_t>(random.below(static_cast<int64_t>(packed.size() - 10))) + 10;
        other[at] ^= std::byte{1} << static_cast<int>(random.below(8));
        Bytes got;
        const std::string text = refusal([&] { got = gunzip(other, 1 << 20, "f.gz"); });
        refusals += !text.empty();
        if (text.empty()) EXPECT_EQ(got, plain) << level << ' ' << size << ' ' << at;
        else EXPECT_NE(text.find("f.gz: the gzip stream is"), std::string::npos) << text;
      }
    }
  EXPECT_GT(refusals, 500);
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
