// SPDX-License-Identifier: Apache-2.0
// CUDA devices as the tensor room sees them. Without a driver or a device there are none of them, which is no error.
#include <algorithm>
#include <string_view>

#include "kernels/cuda/kernel.h"
#include "tensor/async.h"

#if defined(__CUDACC__)
#include <nvtx3/nvToolsExt.h>  // headers alone: it looks for a profiler at run time

namespace metvox::METVOX_KERNEL_NS {
namespace {

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }

class CudaDriver final : public DeviceDriver, public AsyncDriver {
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

  // Of no stream: all that the device was given.
  void synchronize(int index, void* stream) const override {
    select(index);
    check_cuda(stream ? cudaStreamSynchronize(stream_of(stream)) : cudaDeviceSynchronize(), "cudaStreamSynchronize");
  }

  void wait(void* stream, void* other) const override {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    const cudaError_t recorded = cudaEventRecord(event, stream_of(other));
    const cudaError_t waiting = cudaStreamWaitEvent(stream_of(stream), event, 0);
    cudaEventDestroy(event);  // which takes it away once both have passed it
    check_cuda(recorded, "cudaEventRecord");
    check_cuda(waiting, "cudaStreamWaitEvent");
  }

  bool pin(int index, void* memory, size_t bytes) const noexcept override {
    cudaSetDevice(index);
    const bool pinned = cudaHostRegister(memory, bytes, cudaHostRegisterPortable) == cudaSuccess;
    cudaGetLastError();  // a limit of the system's is no reason for the next call to fail
    return pinned;
  }
  void unpin(int index, void* memory) const noexcept override {
    cudaSetDevice(index);
    cudaHostUnregister(memory);
  }

  // Other threads may take memory meanwhile.
  void begin_capture(void* stream) const override {
    const cudaError_t began = cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal);
    if (began != cudaSuccess) cudaGetLastError();  // the work is then done without, and its launches ask for errors
    check_cuda(began, "cudaStreamBeginCapture");
  }
  void* end_capture(void* stream) const override {
    cudaGraph_t recorded = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_of(stream), &recorded);
    cudaGraphExec_t graph = nullptr;
    const cudaError_t made = ended == cudaSuccess ? cudaGraphInstantiate(&graph, recorded, 0) : ended;
    if (recorded) cudaGraphDestroy(recorded);
    cudaGetLastError();
    check_cuda(ended, "cudaStreamEndCapture");
    check_cuda(made, "cudaGraphInstantiate");
    return graph;
  }
  void launch_graph(void* graph, void* stream) const override {
    check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)), "cudaGraphLaunch");
  }
  void release_graph(void* graph) const noexcept override { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

  void* make_event(int index) const override {
    select(index);
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event), "cudaEventCreate");
    return event;
  }
  void release_event(int index, void* event) const noexcept override {
    cudaSetDevice(index);
    cudaEventDestroy(event_of(event));
  }
  // Within a capture an event without the flag would only order streams, and never have a time.
  void record_event(void* event, void* stream) const override {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream_of(stream), &status), "cudaStreamIsCapturing");
    const bool recorded = status == cudaStreamCaptureStatusActive;
    check_cuda(cudaEventRecordWithFlags(event_of(event), stream_of(stream),
                                        recorded ? cudaEventRecordExternal : cudaEventRecordDefault),
               "cudaEventRecordWithFlags");
  }
  double ms_between(void* from, void* to) const override {
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, event_of(from), event_of(to)), "cudaEventElapsedTime");
    return static_cast<double>(ms);
  }

  void begin_range(const char* name) const override { nvtxRangePushA(name); }
  void end_range() const noexcept override { nvtxRangePop(); }

 private:
  static void select(int index) { check_cuda(cudaSetDevice(index), "cudaSetDevice"); }
};

const CudaDriver driver;
const DriverEntry entry{Device::Kind::cuda, driver};
const AsyncDriverEntry async_entry{Device::Kind::cuda, driver};

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS

#endif
