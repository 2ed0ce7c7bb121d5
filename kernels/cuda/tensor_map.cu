// SPDX-License-Identifier: Apache-2.0
// Tensor maps: on CUDA the driver writes them, through an entry point that is asked for at run time.
#include "kernels/cuda/hopper.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// What the driver would refuse with a bare number.
void check_tile(const TensorTile& t) {
  const uint64_t element = size_of(t.dtype), inner = t.box[0] * element;
  const auto require = [&](bool ok, const char* what) { check(ok, "make_tensor_map: ", what); };
  require(t.rank >= 2 && t.rank <= 5, "a rank from 2 to 5");
  require(reinterpret_cast<uintptr_t>(t.base) % 16 == 0, "the base is a multiple of 16 bytes");
  require(inner % 16 == 0, "the box's innermost bytes are a multiple of 16");
  require(!t.swizzle_128 || inner <= 128, "at most 128 innermost bytes under the swizzle");
  for (int k = 0; k < t.rank; ++k) {
    require(t.extent[k] > 0 && t.extent[k] <= uint64_t{1} << 32, "extents from 1 to 2^32");
    require(t.box[k] > 0 && t.box[k] <= 256, "box extents from 1 to 256");
    require(k == 0 || (t.stride_bytes[k] % 16 == 0 && t.stride_bytes[k] < uint64_t{1} << 40),
            "strides are multiples of 16 bytes");
  }
}

void check_tile(const Im2colTile& t) {
  const auto require = [&](bool ok, const char* what) { check(ok, "make_im2col_map: ", what); };
  const auto bytes = static_cast<int64_t>(size_of(t.dtype));
  require(reinterpret_cast<uintptr_t>(t.base) % 16 == 0, "the base is a multiple of 16 bytes");
  require(t.n > 0 && t.c > 0 && t.c * bytes % 16 == 0, "a voxel's bytes are a multiple of 16");
  require(t.channels * static_cast<uint32_t>(bytes) == 128, "a load's rows are 128 bytes");
  require(t.pixels > 0 && t.pixels <= 1024, "loads of 1 to 1,024 rows");
  for (int a = 0; a < 3; ++a) {
    require(t.lower[a] >= -16 && t.lower[a] <= 15 && t.upper[a] >= -16 && t.upper[a] <= 15, "corners from -16 to 15");
    require(t.step[a] >= 1 && t.step[a] <= 8, "steps from 1 to 8");
    require(t.extent[a] > 0 && t.extent[a] - 1 + t.upper[a] >= t.lower[a], "a bounding box that is not empty");
  }
}

}  // namespace

#if defined(__CUDACC__)

namespace {

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
using EncodeIm2col = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                  const cuuint64_t*, const int*, const int*, cuuint32_t, cuuint32_t, const cuuint32_t*,
                                  CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                  CUtensorMapFloatOOBfill);

template <class Function>
Function entry_point(const char* name) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult status{};
  check_cuda(cudaGetDriverEntryPointByVersion(name, &entry, 12000, cudaEnableDefault, &status), name);
  check(entry && status == cudaDriverEntryPointSuccess, "the driver has no ", name);
  return reinterpret_cast<Function>(entry);
}

CUtensorMapDataType type_of(DType t) {
  if (t == DType::bf16) return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return t == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
}

}  // namespace

TensorMap make_tensor_map(const TensorTile& t) {
  check_tile(t);
  static const auto encode = entry_point<EncodeTiled>("cuTensorMapEncodeTiled");
  constexpr cuuint32_t kEveryElement[5] = {1, 1, 1, 1, 1};
  const cuuint64_t extent[5] = {t.extent[0], t.extent[1], t.extent[2], t.extent[3], t.extent[4]};
  const cuuint64_t strides[4] = {t.stride_bytes[1], t.stride_bytes[2], t.stride_bytes[3], t.stride_bytes[4]};
  TensorMap map;
  const CUresult status =
      encode(&map, type_of(t.dtype), static_cast<cuuint32_t>(t.rank), t.base, extent, strides, t.box, kEveryElement,
             CU_TENSOR_MAP_INTERLEAVE_NONE, t.swizzle_128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, "make_tensor_map: cuTensorMapEncodeTiled gave CUDA error ", static_cast<int>(status));
  return map;
}

TensorMap make_im2col_map(const Im2colTile& t) {
  check_tile(t);
  static const auto encode = entry_point<EncodeIm2col>("cuTensorMapEncodeIm2col");
  cuuint64_t extent[5] = {static_cast<cuuint64_t>(t.c), 0, 0, 0, static_cast<cuuint64_t>(t.n)}, strides[4];
  cuuint32_t step[5] = {1, 1, 1, 1, 1};
  int lower[3], upper[3];
  strides[0] = extent[0] * size_of(t.dtype);
  for (int k = 0; k < 3; ++k) {  // w, h, d
    extent[k + 1] = static_cast<cuuint64_t>(t.extent[2 - k]);
    strides[k + 1] = strides[k] * extent[k + 1];
    step[k + 1] = static_cast<cuuint32_t>(t.step[2 - k]);
    lower[k] = static_cast<int>(t.lower[2 - k]), upper[k] = static_cast<int>(t.upper[2 - k]);
  }
  TensorMap map;
  const CUresult status = encode(&map, type_of(t.dtype), 5, t.base, extent, strides, lower, upper, t.channels, t.pixels,
                                 step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, "make_im2col_map: cuTensorMapEncodeIm2col gave CUDA error ", static_cast<int>(status));
  return map;
}

#else

TensorMap make_tensor_map(const TensorTile& t) {
  check_tile(t);
  TensorMap map;
  map.base = static_cast<const char*>(t.base);
  map.rank = t.rank;
  map.element_bytes = static_cast<uint32_t>(size_of(t.dtype));
  map.swizzle_bytes = t.swizzle_128 ? 128 : 0;
  for (int k = 0; k < t.rank; ++k) {
    map.extent[k] = t.extent[k];
    map.stride_bytes[k] = k == 0 ? map.element_bytes : t.stride_bytes[k];
    map.box[k] = t.box[k];
  }
  return map;
}

TensorMap make_im2col_map(const Im2colTile& t) {
  check_tile(t);
  TensorMap map;
  map.base = static_cast<const char*>(t.base);
  map.rank = 5;
  map.element_bytes = static_cast<uint32_t>(size_of(t.dtype));
  map.swizzle_bytes = 128;
  map.box[0] = t.channels, map.pixels = t.pixels;
  map.extent[0] = static_cast<uint64_t>(t.c), map.extent[4] = static_cast<uint64_t>(t.n);
  for (int k = 0; k < 3; ++k) {  // w, h, d
    map.extent[k + 1] = static_cast<uint64_t>(t.extent[2 - k]);
    map.lower[k] = static_cast<int>(t.lower[2 - k]), map.upper[k] = static_cast<int>(t.upper[2 - k]);
    map.step[k] = static_cast<int>(t.step[2 - k]);
  }
  map.stride_bytes[0] = map.element_bytes;
  for (int k = 1; k < 5; ++k) map.stride_bytes[k] = map.stride_bytes[k - 1] * map.extent[k - 1];
  return map;
}

#endif

}  // namespace metvox::METVOX_KERNEL_NS
