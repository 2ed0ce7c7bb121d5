// SPDX-License-Identifier: Apache-2.0
// The gzip half of files.h: inflating in pieces with ISA-L, and deflating blocks on all threads as pigz does with zlib,
// whose output is the same on every processor.
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "io/files.h"
#include "io/igzip.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace metvox {

// Inflates what `refill` hands out, piece by piece; an empty piece is the end.
class Inflater {
 public:
  using Refill = std::function<std::span<const std::byte>()>;

  Inflater(const Path& named, Refill refill) : named_(named), refill_(std::move(refill)) {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP_NO_HDR_VER;  // the header is read by itself: igzip forgets half of one that is split
    isal_gzip_header_init(&header_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // The count is below `bytes` only at the end of the last member.
  size_t read(void* out, size_t bytes) {
    size_t done = 0;
    while (done < bytes && !ended_) {
      const bool dry = state_.avail_in == 0 && !more();
      const auto room = static_cast<uint32_t>(std::min(bytes - done, kMostAtOnce)), input = state_.avail_in;
      state_.next_out = static_cast<uint8_t*>(out) + done;
      state_.avail_out = room;
      const int status = in_header_ ? isal_read_gzip_header(&state_, &header_) : igzip_inflate(state_);
      const bool moved = input != state_.avail_in || room != state_.avail_out;
      const bool header_ended = in_header_ && status == ISAL_DECOMP_OK;
      consumed_ += input - state_.avail_in;
      done += room - state_.avail_out;
      if (status < 0 || (!moved && !dry))
        fail(Fault::input, named_.string(), ": the gzip stream is corrupt at byte ", consumed_, " (", reason(status),
             "); copy or download the file again");
      if (header_ended) in_header_ = false;
      else if (!in_header_ && state_.block_state == ISAL_BLOCK_FINISH) next_member();
      else if (!moved)  // igzip may still have held some of what came before
        fail(Fault::input, named_.string(), ": the gzip stream is truncated after ", consumed_, " bytes (",
             produced_ + done, " decompressed); copy or download the file again");
    }
    produced_ += done;
    return done;
  }

 private:
  static constexpr size_t kMostAtOnce = size_t{1} << 30;

  static const char* reason(int status) {
    switch (status) {
      case ISAL_INVALID_BLOCK: return "invalid block";
      case ISAL_INVALID_SYMBOL: return "invalid symbol";
      case ISAL_INVALID_LOOKBACK: return "invalid distance too far back";
      case ISAL_INVALID_WRAPPER: return "no gzip header";
      case ISAL_UNSUPPORTED_METHOD: return "unknown compression method";
      case ISAL_INCORRECT_CHECKSUM: return "incorrect checksum";
      default: return "it does not go on";
    }
  }
  bool more() {
    while (piece_.empty() && !dry_) {
      piece_ = refill_();
      dry_ = piece_.empty();
    }
    const size_t n = std::min(piece_.size(), kMostAtOnce);
    state_.next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(piece_.data()));
    state_.avail_in = static_cast<uint32_t>(n);
    piece_ = piece_.subspan(n);
    return n > 0;
  }
  // Zeros after a member are padding (tapes, some cameras); anything else must be another member.
  void next_member() {
    for (;; ++state_.next_in, --state_.avail_in, ++consumed_) {
      if (state_.avail_in == 0 && !more()) {
        ended_ = true;
        return;
      }
      if (*state_.next_in != 0) break;
    }
    isal_inflate_reset(&state_);
    isal_gzip_header_init(&header_);
    in_header_ = true;
  }

  Path named_;
  Refill refill_;
  inflate_state state_;
  isal_gzip_header header_;
  std::span<const std::byte> piece_;
  uint64_t consumed_ = 0, produced_ = 0;
  bool in_header_ = true, dry_ = false, ended_ = false;
};

InputFile::InputFile(const Path& path) : stored_(path), buffer_(size_t{1} << 16) {
  peeked_ = stored_.read(buffer_.data(), buffer_.size());
  if (peeked_ < 2 || buffer_[0] != std::byte{0x1f} || buffer_[1] != std::byte{0x8b}) return;
  inflater_ = std::make_unique<Inflater>(path, [this]() -> std::span<const std::byte> {
    const size_t n = peeked_ > 0 ? std::exchange(peeked_, 0) : stored_.read(buffer_.data(), buffer_.size());
    return {buffer_.data(), n};
  });
}

InputFile::~InputFile() = default;

size_t InputFile::read(void* out, size_t bytes) {
  if (inflater_) return inflater_->read(out, bytes);
  const size_t early = std::min(bytes, peeked_ - given_);
  if (early > 0) std::memcpy(out, buffer_.data() + given_, early);
  given_ += early;
  return early + stored_.read(static_cast<std::byte*>(out) + early, bytes - early);
}

uint64_t InputFile::skip(uint64_t bytes) {
  Bytes scrap(static_cast<size_t>(std::min<uint64_t>(bytes, 1 << 16)));
  uint64_t done = 0;
  while (done < bytes) {
    const size_t n = read(scrap.data(), static_cast<size_t>(std::min<uint64_t>(scrap.size(), bytes - done)));
    if (n == 0) break;
    done += n;
  }
  return done;
}

uint64_t InputFile::most_bytes() const {
  constexpr uint64_t kDeflateLimit = 1032;
  return inflater_ ? stored_.size() * kDeflateLimit : stored_.size();
}

Bytes gunzip(std::span<const std::byte> compressed, size_t limit_bytes, const Path& named) {
  std::span<const std::byte> rest = compressed;
  Inflater inflater(named, [&] { return std::exchange(rest, {}); });
  Bytes plain;
  size_t done = 0;
  // Grows with what came, never with what a header claims; one byte past the limit tells that there is more.
  for (size_t room = std::max<size_t>(compressed.size() * 4, 1 << 12);; room = plain.size() * 2) {
    plain.resize(limit_bytes < room ? limit_bytes + 1 : room);
    done += inflater.read(plain.data() + done, plain.size() - done);
    if (done < plain.size()) break;
    if (done > limit_bytes)
      fail(Fault::input, named.string(), ": decompresses to more than the ", limit_bytes, " bytes expected");
  }
  plain.resize(done);
  return plain;
}

namespace {

// One block as raw deflate data that ends on a byte boundary; the 32 KiB before it serve as its dictionary.
Bytes deflate_block(std::span<const std::byte> plain, size_t first, size_t count, int level) {
  constexpr size_t kWindow = 32768;
  constexpr int kRawDeflate = -15;
  z_stream stream{};
  check(deflateInit2(&stream, level, Z_DEFLATED, kRawDeflate, 8, Z_DEFAULT_STRATEGY) == Z_OK,
        "gzip: zlib does not start at level ", level);
  const auto bytes = [&](size_t at) { return reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data() + at)); };
  const size_t before = std::min(first, kWindow);
  if (before > 0) deflateSetDictionary(&stream, bytes(first - before), static_cast<uInt>(before));
  Bytes out(deflateBound(&stream, count) + 16);
  stream.next_in = bytes(first);
  stream.avail_in = static_cast<uInt>(count);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool last = first + count == plain.size();
  const int status = deflate(&stream, last ? Z_FINISH : Z_SYNC_FLUSH);
  const bool whole = stream.avail_in == 0 && status == (last ? Z_STREAM_END : Z_OK);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  check(whole, "gzip: a block of ", count, " bytes did not fit its bound");
  return out;
}

void append_u32(Bytes& out, uint64_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::byte>(value >> shift));
}

}  // namespace

Bytes gzip(std::span<const std::byte> plain, int level) {
  constexpr size_t kBlock = 1 << 18;
  const size_t blocks = std::max<size_t>(1, (plain.size() + kBlock - 1) / kBlock);
  const auto size_at = [&](size_t b) { return std::min(kBlock, plain.size() - b * kBlock); };
  std::vector<Bytes> packed(blocks);
  std::vector<uLong> sums(blocks);
  parallel_for(static_cast<int64_t>(blocks), 1, [&](int64_t from, int64_t to) {
    for (size_t b = static_cast<size_t>(from); b < static_cast<size_t>(to); ++b) {
      packed[b] = deflate_block(plain, b * kBlock, size_at(b), level);
      sums[b] = crc32_z(0, reinterpret_cast<const Bytef*>(plain.data() + b * kBlock), size_at(b));
    }
  });
  constexpr uint8_t kHeader[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};  // no time, no name, no system
  const auto header = std::as_bytes(std::span(kHeader));
  Bytes out(header.begin(), header.end());
  uLong sum = crc32(0, nullptr, 0);
  for (size_t b = 0; b < blocks; ++b) {
    out.insert(out.end(), packed[b].begin(), packed[b].end());
    sum = crc32_combine(sum, sums[b], static_cast<z_off_t>(size_at(b)));
  }
  append_u32(out, sum);
  append_u32(out, plain.size());
  return out;
}

}  // namespace metvox
