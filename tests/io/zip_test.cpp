// SPDX-License-Identifier: Apache-2.0
#include "io/zip.h"

#include <libdeflate.h>

#include <cstring>

#include "io_testing.h"

namespace metvox {
namespace {

std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

template <class T>
std::string field(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string deflated(const std::string& plain) {
  libdeflate_compressor* packer = libdeflate_alloc_compressor(9);
  std::string out(plain.size() + 100, '\0');
  out.resize(libdeflate_deflate_compress(packer, plain.data(), plain.size(), out.data(), out.size()));
  libdeflate_free_compressor(packer);
  return out;
}

// An archive of one member, with every number that an archive may lie about.
struct Forged {
  std::string name = "a", stored = "hello", plain = "hello";
  uint16_t method = 0, flags = 0;
  uint32_t claims = 5, header = 0;
  bool zip64 = false;

  std::string bytes() const {
    const uint32_t crc = libdeflate_crc32(0, plain.data(), plain.size());
    const auto name_bytes = static_cast<uint16_t>(name.size());
    const auto stored_bytes = static_cast<uint32_t>(stored.size());
    const std::string wide = field(uint16_t{1}) + field(uint16_t{24}) + field(uint64_t{claims}) +
                             field(uint64_t{stored_bytes}) + field(uint64_t{header});
    const uint32_t beyond = 0xffffffff;
    std::string out = field(0x04034b50u) + field(uint16_t{20}) + field(flags) + field(method) + std::string(16, '\0') +
                      field(name_bytes) + field(uint16_t{0}) + name + stored;
    const auto first = static_cast<uint32_t>(out.size());
    std::string directory = field(0x02014b50u) + field(uint16_t{20}) + field(uint16_t{20}) + field(flags) +
                            field(method) + field(uint32_t{0}) + field(crc) + field(zip64 ? beyond : stored_bytes) +
                            field(zip64 ? beyond : claims) + field(name_bytes) +
                            field(static_cast<uint16_t>(zip64 ? wide.size() : 0)) + std::string(10, '\0') +
                            field(zip64 ? beyond : header) + name + (zip64 ? wide : "");
    const auto directory_bytes = static_cast<uint32_t>(directory.size());
    out += directory;
    if (zip64)
      out += field(0x06064b50u) + field(uint64_t{44}) + field(uint32_t{0}) + field(uint64_t{0}) + field(uint64_t{1}) +
             field(uint64_t{1}) + field(uint64_t{directory_bytes}) + field(uint64_t{first}) + field(0x07064b50u) +
             field(uint32_t{0}) + field(uint64_t{first} + directory_bytes) + field(uint32_t{1});
    return out + field(0x06054b50u) + field(uint32_t{0}) + field(uint16_t{1}) + field(uint16_t{1}) +
           field(zip64 ? beyond : directory_bytes) + field(zip64 ? beyond : first) + field(uint16_t{0});
  }
};

testing::AssertionResult refuses(const std::string& bytes, const std::string& part) {
  const Scratch dir;
  write_text(dir / "x.zip", bytes);
  return refused([&] { ZipFile(dir / "x.zip").read("a", 1 << 20); }, part);
}

std::string read_whole(const std::string& bytes) {
  const Scratch dir;
  write_text(dir / "x.zip", bytes);
  return text_of(ZipFile(dir / "x.zip").read("a", 1 << 20));
}

}  // namespace

TEST(zip, reads_what_it_writes) {
  const Scratch dir;
  const std::string large(100000, 'x');
  ZipWriter zip(dir / "x.zip");
  zip.add("one", "1", 1);
  zip.add("folder/large", large.data(), large.size());
  zip.add("none", nullptr, 0);
  EXPECT_EQ(dir.files(), 1u);  // under a temporary name
  zip.commit();
  const ZipFile file(dir / "x.zip");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"folder/large", "none", "one"}));
  EXPECT_EQ(text_of(file.read("one", 1)), "1");
  EXPECT_EQ(text_of(file.read("folder/large", 100000)), large);
  EXPECT_EQ(file.read("none", 0).size(), 0u);
}

TEST(zip, reads_deflated_and_zip64_members) {
  const std::string plain(5000, 'p');
  EXPECT_EQ(read_whole(Forged().bytes()), "hello");
  EXPECT_EQ(read_whole(Forged{.stored = deflated(plain), .plain = plain, .method = 8, .claims = 5000}.bytes()), plain);
  EXPECT_EQ(read_whole(Forged{.stored = deflated(""), .plain = "", .method = 8, .claims = 0}.bytes()), "");
  EXPECT_EQ(read_whole(Forged{.zip64 = true}.bytes()), "hello");
}

TEST(zip, refuses_what_was_cut_short) {
  const std::string whole = Forged().bytes();
  for (size_t bytes : {0u, 1u, 21u, 30u, 60u, static_cast<unsigned>(whole.size()) - 1})
    EXPECT_TRUE(refuses(whole.substr(0, bytes), "is damaged or no zip archive")) << bytes;
}

TEST(zip, refuses_sizes_that_the_file_does_not_back) {
  EXPECT_TRUE(refuses(Forged{.claims = 6}.bytes(), "claims 6 bytes"));
  EXPECT_TRUE(refuses(Forged{.header = 9999}.bytes(), "more than the file holds"));
  EXPECT_TRUE(refuses(Forged{.header = 1}.bytes(), "its members overlap"));
  std::string moved = Forged().bytes();
  moved[0] = 'Q';
  EXPECT_TRUE(refuses(moved, "is not where the directory says"));
  EXPECT_TRUE(refuses(Forged{.method = 8, .claims = 4000000000u}.bytes(), "claims 4000000000 bytes"));
  const std::string bomb(1 << 21, '\0');
  EXPECT_TRUE(refuses(Forged{.stored = deflated(bomb), .plain = bomb, .method = 8, .claims = 1 << 21}.bytes(),
                      "more than the 1048576 that it may have"));
}

TEST(zip, refuses_damage_and_what_it_does_not_read) {
  EXPECT_TRUE(refuses(Forged{.plain = "hellO"}.bytes(), "checksum"));
  EXPECT_TRUE(refuses(Forged{.stored = "\x07zzzz", .method = 8}.bytes(), "does not unpack to 5 bytes"));
  EXPECT_TRUE(refuses(Forged{.stored = deflated("hello") + "z", .method = 8}.bytes(), "does not unpack to 5 bytes"));
  EXPECT_TRUE(
      refuses(Forged{.stored = deflated("hello") + std::string(20, 'z'), .method = 8}.bytes(), "does not unpack"));
  const std::string cut = deflated("hello");
  EXPECT_TRUE(refuses(Forged{.stored = cut.substr(0, cut.size() - 1), .method = 8}.bytes(), "does not unpack"));
  const std::string longer(6, 'p');
  EXPECT_TRUE(refuses(Forged{.stored = deflated(longer), .plain = longer, .method = 8}.bytes(), "does not unpack"));
  EXPECT_TRUE(refuses(Forged{.method = 99}.bytes(), "packed by method 99"));
  EXPECT_TRUE(refuses(Forged{.flags = 1}.bytes(), "encrypted"));
  EXPECT_TRUE(refuses(Forged{.name = "b"}.bytes(), "has no member a"));
}

TEST(zip, refuses_members_that_overlap_or_share_a_name) {
  // The directory is written twice over one member.
  const auto twice = [](const std::string& second_name) {
    const std::string one = Forged().bytes(), other = Forged{.name = second_name}.bytes();
    const size_t first = 36, entry = 47, end = 83;
    std::string out = one.substr(0, end) + other.substr(first, entry) + one.substr(end);
    const auto put16 = [&](size_t at, uint16_t v) { std::memcpy(out.data() + end + entry + at, &v, 2); };
    put16(8, 2);
    put16(10, 2);
    put16(12, 2 * entry);
    return out;
  };
  EXPECT_TRUE(refuses(twice("a"), "holds the member a twice"));
  EXPECT_TRUE(refuses(twice("b"), "its members overlap"));
}

}  // namespace metvox
