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

}  // namespace

#if defined(__CUDACC__)

namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

Encode encode() {
  static const Encode found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult status{};
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &status),
               "make_tensor_map");
    check(entry && status == cudaDriverEntryPointSuccess, "make_tensor_map: the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<Encode>(entry);
  }();
  return found;
}

CUtensorMapDataType type_of(DType t) {
  if (t == DType::bf16) return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return t == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
}

}  // namespace

TensorMap make_tensor_map(const TensorTile& t) {
  check_tile(t);
  constexpr cuuint32_t kEveryElement[5] = {1, 1, 1, 1, 1};
  const cuuint64_t extent[5] = {t.extent[0], t.extent[1], t.extent[2], t.extent[3], t.extent[4]};
  const cuuint64_t strides[4] = {t.stride_bytes[1], t.stride_bytes[2], t.stride_bytes[3], t.stride_bytes[4]};
  TensorMap map;
  const CUresult status =
      encode()(&map, type_of(t.dtype), static_cast<cuuint32_t>(t.rank), t.base, extent, strides, t.box, kEveryElement,
               CU_TENSOR_MAP_INTERLEAVE_NONE, t.swizzle_128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, "make_tensor_map: cuTensorMapEncodeTiled gave CUDA error ", static_cast<int>(status));
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

#endif

}  // namespace metvox::METVOX_KERNEL_NS
