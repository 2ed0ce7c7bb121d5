// SPDX-License-Identifier: Apache-2.0
// Zip archives, as PyTorch keeps tensors in: members stored or deflated, zip64. The central directory rules; members
// may not overlap, and no size is believed that the file cannot back. Source: PKWARE's APPNOTE.TXT 6.3.
#pragma once
#include <map>
#include <span>
#include <string>

#include "io/files.h"

namespace metvox {

class ZipFile {
 public:
  // Reads the directory alone. Throws Error (Fault::input) naming the file, as all functions here.
  explicit ZipFile(const Path& path);
  ~ZipFile();
  ZipFile(const ZipFile&) = delete;
  ZipFile& operator=(const ZipFile&) = delete;

  const Path& path() const { return path_; }
  std::vector<std::string> names() const;
  bool has(const std::string& name) const { return members_.contains(name); }
  uint64_t bytes_of(const std::string& name) const;
  // The member, unpacked, its checksum compared. More than `limit_bytes` is refused before memory is taken.
  Bytes read(const std::string& name, uint64_t limit_bytes) const;

 private:
  struct Member {
    uint64_t header = 0, stored_bytes = 0, bytes = 0;
    uint32_t crc = 0;
    int method = 0;
  };
  const Member& find(const std::string& name) const;
  void read_at(uint64_t offset, void* out, uint64_t bytes) const;
  void read_directory();
  void add_member(std::span<const std::byte> entry, const std::string& name, std::span<const std::byte> extra);
  void refuse_overlaps(uint64_t directory) const;

  Path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::map<std::string, Member> members_;
};

// Writes stored members whose bytes begin at multiples of 64, as PyTorch maps them. Below 4 GiB in all.
class ZipWriter {
 public:
  explicit ZipWriter(const Path& target) : file_(target) {}
  void add(const std::string& name, const void* data, size_t bytes);
  // Writes the directory and makes the file appear.
  void commit();

 private:
  void put(const Bytes& bytes);
  AtomicFile file_;
  uint64_t at_ = 0;
  Bytes directory_;
  uint16_t count_ = 0;
};

}  // namespace metvox
