// SPDX-License-Identifier: Apache-2.0
#include "io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>

namespace metvox {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

// Paths of the temporaries that exist, where a signal handler can read them without a lock.
enum class Slot { empty, filling, active };
struct Temporary {
  std::atomic<Slot> state{Slot::empty};
  char path[PATH_MAX];
};
std::array<Temporary, 256> temporaries;
static_assert(std::atomic<Slot>::is_always_lock_free);

int take_slot(const Path& path) {
  check(path.native().size() < PATH_MAX, "AtomicFile: the path ", path.string(), " is too long");
  for (size_t i = 0; i < temporaries.size(); ++i) {
    Slot expected = Slot::empty;
    if (!temporaries[i].state.compare_exchange_strong(expected, Slot::filling)) continue;
    std::memcpy(temporaries[i].path, path.c_str(), path.native().size() + 1);
    temporaries[i].state = Slot::active;
    return static_cast<int>(i);
  }
  fail(Fault::internal, "AtomicFile: more than ", temporaries.size(), " files are being written at once");
}

[[noreturn]] void not_kept(const Path& target, int error) {
  throw WriteError(sentence("cannot write ", target.string(), ": ", reason(error), "; nothing was kept"));
}

// Unique over processes, machines that share the folder, and calls.
std::string temporary_name() {
  static std::atomic<unsigned> count{0};
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  char name[80];
  std::snprintf(name, sizeof name, ".metvox-%x-%llx-%x.tmp", static_cast<unsigned>(getpid()),
                static_cast<unsigned long long>(now), count++);
  return name;
}

}  // namespace

StoredFile::StoredFile(const Path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer, only to refuse it.
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail(Fault::input, "cannot read ", path.string(), ": ", reason(errno));
  struct stat facts {};
  if (fstat(descriptor_, &facts) == 0 && S_ISREG(facts.st_mode)) {
    size_ = static_cast<uint64_t>(facts.st_size);
    return;
  }
  const bool folder = S_ISDIR(facts.st_mode);
  close(descriptor_);
  fail(Fault::input, "cannot read ", path.string(),
       folder ? ": it is a folder, not a file; put the file itself there" : ": it is not a regular file");
}

StoredFile::~StoredFile() { close(descriptor_); }

size_t StoredFile::read(void* out, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::read(descriptor_, static_cast<char*>(out) + done, bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(Fault::input, "cannot read ", path_.string(), " at byte ", position_ + done, ": ", reason(errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  position_ += done;
  return done;
}

Bytes read_bytes(const Path& path) {
  StoredFile file(path);
  Bytes bytes(file.size());
  bytes.resize(file.read(bytes.data(), bytes.size()));
  return bytes;
}

std::string read_text(const Path& path) {
  const Bytes bytes = read_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void require_folder(const Path& dir) {
  if (std::filesystem::is_directory(dir)) return;
  if (std::filesystem::exists(dir))
    fail(Fault::input, dir.string(), ": is a file, but a folder is expected; name the folder that holds it");
  fail(Fault::input, dir.string(), ": there is no such folder");
}

void make_folder(const Path& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (!std::filesystem::is_directory(dir))
    throw WriteError(
        sentence("cannot make the folder ", dir.string(), ": ", error ? error.message() : "a file has this name"));
}

AtomicFile::AtomicFile(const Path& target) : target_(target) {
  struct stat facts;
  // Renaming onto a device would replace it: `--out /dev/null` as root.
  if (stat(target.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode))
    fail(Fault::input, "cannot write ", target.string(), ": something that is not a regular file has this name");
  const Path temporary = target.parent_path() / temporary_name();
  slot_ = take_slot(temporary);
  descriptor_ = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ >= 0) return;
  const int error = errno;
  temporaries[static_cast<size_t>(slot_)].state = Slot::empty;
  const Path folder = target.has_parent_path() ? target.parent_path() : Path(".");
  throw WriteError(sentence("cannot write ", target.string(), ": cannot make a file in the folder ", folder.string(),
                            ": ", reason(error)));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (slot_ < 0) return;
  Temporary& temporary = temporaries[static_cast<size_t>(slot_)];
  unlink(temporary.path);
  temporary.state = Slot::empty;
}

void AtomicFile::write(const void* data, size_t bytes) {
  check(descriptor_ >= 0, "AtomicFile: written to after commit");
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::write(descriptor_, static_cast<const char*>(data) + done, bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) not_kept(target_, errno);
    done += static_cast<size_t>(n);
  }
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "AtomicFile: committed twice");
  const bool flushed = fsync(descriptor_) == 0 || errno == EINVAL;  // EINVAL: a file system without fsync
  const int flush_error = errno;
  const bool closed = close(descriptor_) == 0;
  descriptor_ = -1;
  if (!flushed || !closed) not_kept(target_, flushed ? errno : flush_error);
  Temporary& temporary = temporaries[static_cast<size_t>(slot_)];
  if (rename(temporary.path, target_.c_str()) != 0) not_kept(target_, errno);
  temporary.state = Slot::empty;
  slot_ = -1;
}

void remove_temporaries() noexcept {
  for (Temporary& temporary : temporaries)
    if (temporary.state == Slot::active) unlink(temporary.path);
}

void write_bytes(const Path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

void write_text(const Path& path, std::string_view text) { write_bytes(path, std::as_bytes(std::span(text))); }

}  // namespace metvox
