// SPDX-License-Identifier: Apache-2.0
// CUDA devices as the tensor room sees them. Without a driver or a device there are none of them, which is no error.
#include <algorithm>
#include <string_view>

#include "kernels/cuda/kernel.h"

#if defined(__CUDACC__)

namespace metvox::METVOX_KERNEL_NS {
namespace {

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

class CudaDriver final : public DeviceDriver {
 public:
  int count() const override {
    int n = 0;  // which the call leaves alone where it fails
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
  }

  DeviceFacts facts(int index) const override {
    cudaDeviceProp about;
    check_cuda(cudaGetDeviceProperties(&about, index), "cudaGetDeviceProperties");
    DeviceFacts facts{about.name, about.major * 100 + about.minor * 10, about.totalGlobalMem, 0};
    size_t all = 0;
    select(index);
    check_cuda(cudaMemGetInfo(&facts.free_bytes, &all), "cudaMemGetInfo");
    return facts;
  }

  void* allocate(int index, size_t bytes, std::string_view name) const override {
    select(index);
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, std::max<size_t>(bytes, 1));
    if (status == cudaSuccess) return memory;
    cudaGetLastError();  // an allocation that failed is no reason for the next call to fail
    size_t free_bytes = 0, all = 0;
    cudaMemGetInfo(&free_bytes, &all);
    fail(status == cudaErrorMemoryAllocation ? Fault::memory : Fault::internal, "cuda:", index, ": no memory for ",
         name, ": ", bytes, " bytes wanted, ", free_bytes, " of ", all, " free (", cudaGetErrorString(status), ")");
  }

  void release(int index, void* memory) const noexcept override {
    cudaSetDevice(index);
    cudaFree(memory);
  }

  void copy(void* to, const void* from, size_t bytes, void* stream) const override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "cudaMemcpyAsync");
  }

  void fill(void* to, int byte, size_t bytes, void* stream) const override {
    check_cuda(cudaMemsetAsync(to, byte, bytes, stream_of(stream)), "cudaMemsetAsync");
  }

  void* make_stream(int index) const override {
    select(index);
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    return stream;
  }

  void release_stream(int index, void* stream) const noexcept override {
    cudaSetDevice(index);
    cudaStreamDestroy(stream_of(stream));
  }

  void synchronize(int index, void* stream) const override {
    select(index);
    check_cuda(stream ? cudaStreamSynchronize(stream_of(stream)) : cudaDeviceSynchronize(), "cudaStreamSynchronize");
  }

 private:
  static void select(int index) { check_cuda(cudaSetDevice(index), "cudaSetDevice"); }
};

const CudaDriver driver;
const DriverEntry entry{Device::Kind::cuda, driver};

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS

#endif
