// SPDX-License-Identifier: Apache-2.0
// test_conformance sim: what the simulated GPU makes of each wrapper against a plain loop, where there is one.
// test_conformance gpu: a real GPU against the simulated one, bit for bit; 77 (skipped) where there is none.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>

#include "tensor/dtype.h"
#include "tests/kernels/conformance/digits.h"
#include "tests/kernels/conformance/im2col_cases.h"
#include "tests/kernels/conformance/wrappers.h"

namespace metvox {
namespace {

using Words = std::vector<uint32_t>;

Words random_words(size_t n) {
  std::mt19937 random(11);
  Words words(n);
  for (auto& w : words) w = static_cast<uint32_t>(random());
  return words;
}

Words run(const Wrapper& wrapper, Device device, const Words& in) {
  Stream stream(device);
  const DeviceDriver& d = driver(device);
  const size_t bytes_in = wrapper.words_in * 4, bytes_out = wrapper.words_out * 4;
  auto* from = static_cast<uint32_t*>(d.allocate(device.index, bytes_in, "in"));
  auto* to = static_cast<uint32_t*>(d.allocate(device.index, bytes_out, "out"));
  d.copy(from, in.data(), bytes_in, stream.handle());
  d.fill(to, 0, bytes_out, stream.handle());
  wrapper.run(stream, from, to);
  Words out(wrapper.words_out);
  d.copy(out.data(), to, bytes_out, stream.handle());
  stream.synchronize();
  d.release(device.index, from);
  d.release(device.index, to);
  return out;
}

// D (rows, n) of A (rows, 16) and B (n, 16), one after the other in `in`.
Words product(const Words& in, size_t rows, size_t n) {
  Words d(rows * n);
  for (size_t i = 0; i < d.size(); ++i) {
    float sum = 0;
    for (size_t k = 0; k < 16; ++k) sum += digit(in[i / n * 16 + k]) * digit(in[(rows + i % n) * 16 + k]);
    d[i] = std::bit_cast<uint32_t>(sum);
  }
  return d;
}

uint16_t half_word(const Words& in, size_t i) { return static_cast<uint16_t>(in[i / 2] >> i % 2 * 16); }

Words swizzled_box(const Words& in) {
  std::vector<uint16_t> box(32 * 64);
  for (size_t row = 0; row < 32; ++row)
    for (size_t column = 0; column < 64; ++column) {
      const bool inside = row >= 4 && column + 16 < 64;
      const size_t chunk = column / 8 ^ row % 8;
      box[row * 64 + chunk * 8 + column % 8] = inside ? half_word(in, (row - 4) * 64 + column + 16) : uint16_t{0};
    }
  Words words(box.size() / 2);
  std::memcpy(words.data(), box.data(), box.size() * 2);
  return words;
}

Words channel_groups(const Words& in) {
  std::vector<uint16_t> box;
  for (size_t n = 0; n < 2; ++n)
    for (size_t group = 0; group < 2; ++group)
      for (size_t h = 0; h < 4; ++h)
        for (size_t w = 0; w < 12; ++w)
          for (size_t c = 0; c < 8; ++c) {
            const bool inside = w >= 1 && w <= 10;
            box.push_back(inside ? half_word(in, ((n * 6 + h) * 10 + w - 1) * 16 + group * 8 + c) : uint16_t{0});
          }
  Words words(box.size() / 2);
  std::memcpy(words.data(), box.data(), box.size() * 2);
  return words;
}

// All places of the kernel in turn, and of those the load's.
Words im2col(const Im2colCase& of, const Words& in) {
  struct Place {
    int64_t n, d, h, w;
    bool operator==(const Place&) const = default;
  };
  std::vector<Place> places;
  const auto last = [&](int a) { return of.extent[a] - 1 + of.upper[a]; };
  for (int64_t n = 0; n < of.n; ++n)
    for (int64_t d = of.lower[0]; d <= last(0); d += of.step[0])
      for (int64_t h = of.lower[1]; h <= last(1); h += of.step[1])
        for (int64_t w = of.lower[2]; w <= last(2); w += of.step[2]) places.push_back({n, d, h, w});
  auto place = std::find(places.begin(), places.end(), Place{of.first[4], of.first[3], of.first[2], of.first[1]});
  std::vector<uint16_t> rows(size_t{of.pixels} * 64);
  for (size_t row = 0; row < of.pixels && place != places.end(); ++row, ++place) {
    const int64_t d = place->d + of.tap[2], h = place->h + of.tap[1], w = place->w + of.tap[0];
    if (d < 0 || d >= of.extent[0] || h < 0 || h >= of.extent[1] || w < 0 || w >= of.extent[2]) continue;
    const int64_t voxel = ((place->n * of.extent[0] + d) * of.extent[1] + h) * of.extent[2] + w;
    for (int64_t k = 0; k < 64 && of.first[0] + k < of.c; ++k)
      rows[row * 64 + static_cast<size_t>((k / 8 ^ static_cast<int64_t>(row % 8)) * 8 + k % 8)] =
          half_word(in, static_cast<size_t>(voxel * of.c + of.first[0] + k));
  }
  Words words(rows.size() / 2);
  std::memcpy(words.data(), rows.data(), rows.size() * 2);
  return words;
}

// What conformance's move_registers makes of its input.
Words moved_registers(const Words& in) {
  Words out = in;
  for (size_t t = 0; t < 256; ++t) {
    out[t] = 0;
    for (size_t i = 0; i < 200; ++i) out[t] = out[t] * 3 + in[(t + i) % 384];
  }
  return out;
}

Words ldmatrix_x4(const Words& in) {
  Words out(128);
  for (size_t m = 0; m < 4; ++m)
    for (size_t t = 0; t < 32; ++t) out[m * 32 + t] = in[(m * 8 + t / 4) * 4 + t % 4];
  return out;
}

// In double, where std::round takes ties away from zero.
Words rounded_to_tf32(const Words& in) {
  Words out(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    const double v = std::bit_cast<float>(word_for_tf32(in[i], static_cast<uint32_t>(i)));
    const int fraction = std::isfinite(v) ? 10 - std::max(std::ilogb(v), -126) : 0;
    const double nearest = std::isfinite(v) ? std::ldexp(std::round(std::ldexp(v, fraction)), -fraction) : v;
    out[i] = std::bit_cast<uint32_t>(std::abs(nearest) < 0x1p128 ? static_cast<float>(nearest)
                                                                 : std::copysign(INFINITY, static_cast<float>(v)));
  }
  return out;
}

// What a plain loop gives, of the first words out; nothing where only a GPU can tell.
std::optional<Words> plain(const Wrapper& w, const Words& in) {
  if (w.name.starts_with("mma")) return product(in, 16, 8);
  if (w.name.starts_with("wgmma")) return product(in, 64, w.words_out / 64);
  if (w.name == "tma_swizzled") return swizzled_box(in);
  if (w.name == "tma_channel_groups") return channel_groups(in);
  for (int i = 0; i < kIm2colCases; ++i)
    if (w.name == im2col_case(i).name) return im2col(im2col_case(i), in);
  if (w.name == "registers") return moved_registers(in);
  if (w.name == "ldmatrix") return ldmatrix_x4(in);
  if (w.name == "to_tf32") return rounded_to_tf32(in);
  if (w.name != "cp_async") return std::nullopt;
  Words out(256);
  for (size_t i = 0; i < 256; ++i) out[i] = i / 4 % 5 ? in[4 * (63 - i / 4) + i % 4] : 0;
  return out;
}

bool same(const std::string& name, const Words& got, const Words& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (got[i] != expected[i]) {
      std::printf("FAILED %s: word %zu is %08x, expected %08x\n", name.c_str(), i, got[i], expected[i]);
      return false;
    }
  std::printf("ok %s\n", name.c_str());
  return true;
}

std::vector<Wrapper> both(std::vector<Wrapper> all, const std::vector<Wrapper>& hopper) {
  all.insert(all.end(), hopper.begin(), hopper.end());
  return all;
}

int check_sim() {
  int failed = 0;
  for (const Wrapper& w : both(ksim::wrappers(), ksim::hopper_wrappers())) {
    const Words in = random_words(w.words_in), got = run(w, {Device::Kind::sim}, in);
    if (const auto expected = plain(w, in)) failed += !same(w.name, got, *expected);
  }
  return failed ? 1 : 0;
}

int check_gpu() {
  constexpr int kSkipped = 77;
  if (device_count(Device::Kind::cuda) == 0) {
    std::printf("no CUDA device\n");
    return kSkipped;
  }
#if METVOX_CUDA
  const auto sim = both(ksim::wrappers(), ksim::hopper_wrappers()),
             gpu = both(kgpu::wrappers(), kgpu::hopper_wrappers());
  const int arch = driver({Device::Kind::cuda}).facts(0).arch;
  int failed = 0;
  for (size_t i = 0; i < gpu.size(); ++i) {
    if (gpu[i].only ? arch != gpu[i].arch : arch < gpu[i].arch) continue;
    const Words in = random_words(gpu[i].words_in);
    failed += !same(gpu[i].name, run(gpu[i], {Device::Kind::cuda}, in), run(sim[i], {Device::Kind::sim}, in));
  }
  return failed ? 1 : 0;
#else
  return kSkipped;
#endif
}

}  // namespace
}  // namespace metvox

int main(int argc, char** argv) {
  try {
    if (argc == 2 && !std::strcmp(argv[1], "sim")) return metvox::check_sim();
    if (argc == 2 && !std::strcmp(argv[1], "gpu")) return metvox::check_gpu();
  } catch (const metvox::Error& e) {
    std::printf("FAILED: %s\n", e.what());
    return 1;
  }
  std::printf("usage: test_conformance sim|gpu\n");
  return 2;
}
