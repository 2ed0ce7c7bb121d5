// SPDX-License-Identifier: Apache-2.0
// Bytes on disk. Everything written goes to a temporary name beside its target and is renamed, so that a file either
// exists whole or does not exist; a signal, a full disk or an exception leaves nothing behind.
// All functions throw Error (Fault::input) naming the path and, where it helps, the byte.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"

namespace metvox {

using Path = std::filesystem::path;
using Bytes = std::vector<std::byte>;

// A folder or file system that does not take what is written, such as a full disk: what comes next would fail too.
class WriteError : public Error {
 public:
  explicit WriteError(const std::string& sentence) : Error(Fault::input, sentence) {}
};

Bytes read_bytes(const Path& path);
std::string read_text(const Path& path);

// A regular file as it is stored, read front to back.
class StoredFile {
 public:
  explicit StoredFile(const Path& path);
  ~StoredFile();
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;
  // Fills `out` with the next bytes; the count is below `bytes` only at the end of the file.
  size_t read(void* out, size_t bytes);
  uint64_t size() const { return size_; }
  const Path& path() const { return path_; }

 private:
  Path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0, position_ = 0;
};

class Inflater;

// A regular file, read front to back and gunzipped on the way when its first two bytes say gzip, whatever its name.
// Reads concatenated members, checks each checksum, throws on a truncated or corrupt stream.
class InputFile {
 public:
  explicit InputFile(const Path& path);
  ~InputFile();
  // As StoredFile::read().
  size_t read(void* out, size_t bytes);
  // Passes over bytes; returns how many there were.
  uint64_t skip(uint64_t bytes);
  // The most bytes that can come in all: the size of a plain file, 1032 times that of a gzip file (deflate's limit).
  uint64_t most_bytes() const;
  const Path& path() const { return stored_.path(); }

 private:
  StoredFile stored_;
  Bytes buffer_;                        // the first bytes of a plain file; pieces of a gzip file
  size_t peeked_ = 0, given_ = 0;       // of the first bytes: how many were read, how many handed out
  std::unique_ptr<Inflater> inflater_;  // empty: the file is plain
};

// Throws Error (Fault::input) unless there is a folder of this name.
void require_folder(const Path& dir);
// The folder and those above it, where they are not there yet.
void make_folder(const Path& dir);

// A file that becomes visible under its name only by commit(). The destructor of an uncommitted one removes it, and so
// does remove_temporaries(), which the signal handler of the program calls (async-signal-safe).
class AtomicFile {
 public:
  explicit AtomicFile(const Path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  // Flushes to disk, then renames. Throws WriteError when the disk is full, as write() does.
  void commit();

 private:
  Path target_;
  int descriptor_ = -1;
  int slot_ = -1;  // of the table that holds the temporary's path
};
void remove_temporaries() noexcept;

void write_bytes(const Path& path, std::span<const std::byte> bytes);
void write_text(const Path& path, std::string_view text);

// gzip, whole buffers. gunzip() takes what InputFile takes, and throws also when the output would pass `limit_bytes`.
// gzip() makes one member, without a time stamp or a name.
Bytes gunzip(std::span<const std::byte> compressed, size_t limit_bytes, const Path& named);
Bytes gzip(std::span<const std::byte> plain, int level = 6);

}  // namespace metvox
