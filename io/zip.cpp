// SPDX-License-Identifier: Apache-2.0
#include "io/zip.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/igzip.h"

namespace metvox {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint32_t kBeyond32 = 0xffffffff;
constexpr int kStored = 0, kDeflated = 8;

template <class T>
T at(std::span<const std::byte> bytes, size_t offset) {
  T value;
  check(offset + sizeof value <= bytes.size(), "zip: a field beyond its record");
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Not vector::insert, of which gcc 12 warns falsely.
void append_raw(Bytes& bytes, const void* from, size_t count) {
  const size_t end = bytes.size();
  bytes.resize(end + count);
  std::memcpy(bytes.data() + end, from, count);
}

template <class T>
void append(Bytes& bytes, T value) {
  append_raw(bytes, &value, sizeof value);
}

void append(Bytes& bytes, const std::string& text) { append_raw(bytes, text.data(), text.size()); }

// False unless the whole of `packed` unpacks to exactly out.size() bytes.
bool inflate_raw(const Bytes& packed, Bytes& out) {
  inflate_state z;
  isal_inflate_init(&z);
  z.next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(packed.data()));
  z.next_out = reinterpret_cast<uint8_t*>(out.data());
  size_t in = packed.size(), room = out.size();
  constexpr size_t kPiece = 1u << 30;
  bool goes_on = true;
  while (goes_on && z.block_state != ISAL_BLOCK_FINISH) {
    const auto given = static_cast<uint32_t>(std::min(in, kPiece)),
               space = static_cast<uint32_t>(std::min(room, kPiece));
    z.avail_in = given;
    z.avail_out = space;
    const int status = igzip_inflate(z);
    in -= given - z.avail_in;
    room -= space - z.avail_out;
    goes_on = status == ISAL_DECOMP_OK && (given != z.avail_in || space != z.avail_out);
  }
  const size_t unused = in + static_cast<size_t>(z.read_in_length / 8);  // igzip may have taken bytes after the end
  return z.block_state == ISAL_BLOCK_FINISH && unused == 0 && room == 0;
}

template <class... Parts>
[[noreturn]] void fail_damaged(const Path& path, const Parts&... parts) {
  fail(Fault::input, path.string(), ": is damaged or no zip archive: ", parts..., "; get a whole copy of it");
}

}  // namespace

ZipFile::ZipFile(const Path& path) : path_(path) {
  size_ = StoredFile(path).size();
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(Fault::input, path.string(), ": cannot be opened: ", std::strerror(errno));
  try {
    read_directory();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ZipFile::~ZipFile() { ::close(descriptor_); }

void ZipFile::read_at(uint64_t offset, void* out, uint64_t bytes) const {
  if (offset > size_ || bytes > size_ - offset)
    fail_damaged(path_, "bytes ", offset, " to ", offset + bytes, " are asked for, there are ", size_);
  for (auto* to = static_cast<char*>(out); bytes > 0;) {
    const ssize_t got = ::pread(descriptor_, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail(Fault::input, path_.string(), ": cannot be read at byte ", offset);
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
}

void ZipFile::read_directory() {
  // The end record stands at the end, but for a comment of at most 65535 bytes.
  Bytes tail(std::min<uint64_t>(size_, kEndBytes + 0xffff));
  const uint64_t tail_at = size_ - tail.size();
  read_at(tail_at, tail.data(), tail.size());
  if (tail.size() < kEndBytes) fail_damaged(path_, "it is too short");
  size_t end = tail.size() - kEndBytes + 1;
  while (end-- > 0)
    if (at<uint32_t>(tail, end) == kEnd) break;
  if (end > tail.size()) fail_damaged(path_, "its directory is missing, as in a file that was cut short");
  uint64_t count = at<uint16_t>(tail, end + 10), bytes = at<uint32_t>(tail, end + 12),
           first = at<uint32_t>(tail, end + 16), before = tail_at + end;
  if (count == 0xffff || bytes == kBeyond32 || first == kBeyond32) {
    Bytes locator(kLocator64Bytes), record(kEnd64Bytes);
    if (before < kLocator64Bytes) fail_damaged(path_, "its zip64 directory is missing");
    read_at(before - kLocator64Bytes, locator.data(), locator.size());
    if (at<uint32_t>(locator, 0) != kLocator64) fail_damaged(path_, "its zip64 directory is missing");
    before = at<uint64_t>(locator, 8);
    read_at(before, record.data(), record.size());
    if (at<uint32_t>(record, 0) != kEnd64) fail_damaged(path_, "its zip64 directory is missing");
    count = at<uint64_t>(record, 32), bytes = at<uint64_t>(record, 40), first = at<uint64_t>(record, 48);
  }
  if (first > before || bytes > before - first || count > bytes / kCentralBytes)
    fail_damaged(path_, "a directory of ", count, " members in ", bytes, " bytes does not fit");
  Bytes directory(bytes);
  read_at(first, directory.data(), directory.size());
  std::span<const std::byte> left(directory);
  for (uint64_t i = 0; i < count; ++i) {
    if (left.size() < kCentralBytes || at<uint32_t>(left, 0) != kCentral)
      fail_damaged(path_, "its directory ends after ", i, " of ", count, " members");
    const size_t name = at<uint16_t>(left, 28), extra = at<uint16_t>(left, 30), comment = at<uint16_t>(left, 32);
    if (left.size() - kCentralBytes < name + extra + comment) fail_damaged(path_, "its directory is cut short");
    const auto text = left.subspan(kCentralBytes, name);
    add_member(left, {reinterpret_cast<const char*>(text.data()), text.size()},
               left.subspan(kCentralBytes + name, extra));
    left = left.subspan(kCentralBytes + name + extra + comment);
  }
  refuse_overlaps(first);
}

void ZipFile::add_member(std::span<const std::byte> entry, const std::string& name, std::span<const std::byte> extra) {
  Member m{at<uint32_t>(entry, 42), at<uint32_t>(entry, 20), at<uint32_t>(entry, 24), at<uint32_t>(entry, 16),
           at<uint16_t>(entry, 10)};
  while (extra.size() >= 4) {
    const size_t id = at<uint16_t>(extra, 0), bytes = at<uint16_t>(extra, 2);
    if (extra.size() - 4 < bytes) break;
    if (id == 1) {  // zip64: those fields, in this order, that do not fit into 32 bits
      std::span<const std::byte> wide = extra.subspan(4, bytes);
      for (uint64_t* field : {&m.bytes, &m.stored_bytes, &m.header})
        if (*field == kBeyond32 && wide.size() >= 8) *field = at<uint64_t>(wide, 0), wide = wide.subspan(8);
    }
    extra = extra.subspan(4 + bytes);
  }
  if (at<uint16_t>(entry, 8) & 1) fail(Fault::input, path_.string(), ": its member ", name, " is encrypted");
  if (m.method != kStored && m.method != kDeflated)
    fail(Fault::input, path_.string(), ": its member ", name, " is packed by method ", m.method,
         "; stored and deflated ones are read");
  constexpr uint64_t kMostGrowth = 1032;  // deflate's limit
  const bool plausible = m.method == kStored ? m.bytes == m.stored_bytes : m.bytes / kMostGrowth <= m.stored_bytes;
  if (m.header > size_ || m.stored_bytes > size_ - m.header || !plausible)
    fail_damaged(path_, "its member ", name, " claims ", m.bytes, " bytes, more than the file holds");
  if (!members_.emplace(name, m).second) fail(Fault::input, path_.string(), ": holds the member ", name, " twice");
}

// Members that share bytes are how a small file unpacks to a large one.
void ZipFile::refuse_overlaps(uint64_t directory) const {
  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (const auto& [name, m] : members_)
    places.emplace_back(m.header, m.header + kLocalBytes + name.size() + m.stored_bytes);
  places.emplace_back(directory, directory);
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); ++i)
    if (places[i].first < places[i - 1].second) fail_damaged(path_, "its members overlap");
}

std::vector<std::string> ZipFile::names() const {
  std::vector<std::string> out;
  for (const auto& [name, member] : members_) out.push_back(name);
  return out;
}

const ZipFile::Member& ZipFile::find(const std::string& name) const {
  const auto found = members_.find(name);
  if (found == members_.end()) fail(Fault::input, path_.string(), ": has no member ", name);
  return found->second;
}

uint64_t ZipFile::bytes_of(const std::string& name) const { return find(name).bytes; }

Bytes ZipFile::read(const std::string& name, uint64_t limit_bytes) const {
  const Member& m = find(name);
  if (m.bytes > limit_bytes)
    fail(Fault::input, path_.string(), ": its member ", name, " has ", m.bytes, " bytes, more than the ", limit_bytes,
         " that it may have");
  Bytes header(kLocalBytes);
  read_at(m.header, header.data(), header.size());
  if (at<uint32_t>(header, 0) != kLocal) fail_damaged(path_, "its member ", name, " is not where the directory says");
  const uint64_t first = m.header + kLocalBytes + at<uint16_t>(header, 26) + at<uint16_t>(header, 28);
  Bytes stored(m.stored_bytes);
  read_at(first, stored.data(), stored.size());
  Bytes out;
  if (m.method == kStored) {
    out = std::move(stored);
  } else {
    out.resize(m.bytes);
    if (!inflate_raw(stored, out)) fail_damaged(path_, "its member ", name, " does not unpack to ", m.bytes, " bytes");
  }
  if (igzip_crc32(out.data(), out.size()) != m.crc)
    fail_damaged(path_, "the checksum of its member ", name, " does not agree");
  return out;
}

void ZipWriter::put(const Bytes& bytes) {
  file_.write(bytes.data(), bytes.size());
  at_ += bytes.size();
}

void ZipWriter::add(const std::string& name, const void* data, size_t bytes) {
  constexpr uint64_t kAlign = 64, kExtraHead = 4, kMost = 0xfffffffe;
  constexpr uint16_t kVersion = 20, kUtf8 = 1 << 11, kPaddingId = 0x4246, kNewYear1980 = 0x21;
  if (bytes > kMost || at_ + bytes + name.size() + kLocalBytes + kAlign > kMost - directory_.size() - (1u << 20))
    fail(Fault::input, "a zip archive of more than 4 GiB is not written; these weights are too many");
  const uint64_t unpadded = at_ + kLocalBytes + name.size() + kExtraHead;
  const auto padding = static_cast<uint16_t>((kAlign - unpadded % kAlign) % kAlign);
  Bytes common;  // the fields that both headers share
  for (uint16_t field : {kVersion, kUtf8, uint16_t{0}, uint16_t{0}, kNewYear1980}) append(common, field);
  for (uint32_t field : {igzip_crc32(data, bytes), static_cast<uint32_t>(bytes), static_cast<uint32_t>(bytes)})
    append(common, field);
  append(common, static_cast<uint16_t>(name.size()));
  append(directory_, kCentral);
  append(directory_, kVersion);
  append_raw(directory_, common.data(), common.size());
  for (int field = 0; field < 4; ++field) append(directory_, uint16_t{0});  // extra, comment, disk, internal attributes
  append(directory_, uint32_t{0});
  append(directory_, static_cast<uint32_t>(at_));
  append(directory_, name);
  Bytes local;
  append(local, kLocal);
  append_raw(local, common.data(), common.size());
  append(local, static_cast<uint16_t>(kExtraHead + padding));
  append(local, name);
  append(local, kPaddingId);
  append(local, padding);
  local.resize(local.size() + padding);
  put(local);
  file_.write(data, bytes);
  at_ += bytes;
  ++count_;
}

void ZipWriter::commit() {
  Bytes end;
  append(end, kEnd);
  append(end, uint32_t{0});  // disks
  append(end, count_);
  append(end, count_);
  append(end, static_cast<uint32_t>(directory_.size()));
  append(end, static_cast<uint32_t>(at_));
  append(end, uint16_t{0});
  put(directory_);
  put(end);
  file_.commit();
}

}  // namespace metvox
