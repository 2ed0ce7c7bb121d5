// SPDX-License-Identifier: Apache-2.0
// Bytes on disk. Everything written goes to a temporary name beside its target and is renamed, so that a file either
// exists whole or does not exist; a signal, a full disk or an exception leaves nothing behind.
// All functions throw Error (Fault::input) naming the path and, where it helps, the byte.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace metvox {

using Path = std::filesystem::path;
using Bytes = std::vector<std::byte>;

Bytes read_bytes(const Path& path);
std::string read_text(const Path& path);

// A file that becomes visible under its name only by commit(). The destructor of an uncommitted one removes it, and so
// does remove_temporaries(), which the signal handler of the program calls (async-signal-safe).
class AtomicFile {
 public:
  explicit AtomicFile(const Path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  // Flushes to disk, then renames. Throws when the disk is full.
  void commit();

 private:
  Path target_, temporary_;
  int descriptor_ = -1;
  int slot_ = -1;
};
void remove_temporaries() noexcept;

void write_bytes(const Path& path, std::span<const std::byte> bytes);
void write_text(const Path& path, const std::string& text);

// gzip, whole buffers. gunzip() reads concatenated members, checks the checksum, and throws on a truncated or corrupt
// stream, or when the output would pass `limit_bytes`. gzip() compresses independent blocks on all threads into one member
// whose bytes do not depend on the number of threads; no time stamp, no name.
Bytes gunzip(std::span<const std::byte> compressed, size_t limit_bytes, const Path& named);
Bytes gzip(std::span<const std::byte> plain, int level = 6);

}  // namespace metvox
