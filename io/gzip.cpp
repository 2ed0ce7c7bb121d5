// SPDX-License-Identifier: Apache-2.0
// The gzip half of files.h: inflating in pieces with ISA-L, deflating whole buffers with libdeflate, whose output is
// the same on every processor.
#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "io/files.h"
#include "io/igzip.h"
#include "tensor/error.h"

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

Bytes gzip(std::span<const std::byte> plain, int level) {
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> packer(
      libdeflate_alloc_compressor(level), libdeflate_free_compressor);
  if (!packer) fail(Fault::memory, "no memory to compress ", plain.size(), " bytes");
  Bytes out(libdeflate_gzip_compress_bound(packer.get(), plain.size()));
  out.resize(libdeflate_gzip_compress(packer.get(), plain.data(), plain.size(), out.data(), out.size()));
  check(!out.empty(), "gzip: ", plain.size(), " bytes did not fit their bound");
  return out;
}

}  // namespace metvox
