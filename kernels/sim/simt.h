// SPDX-License-Identifier: Apache-2.0
// The host SIMT executor as kernels see it: what CUDA's names (cuda_names.h) and our PTX wrappers (kernels/cuda/ptx.h)
// call when a kernel file is compiled as plain C++. One fiber runs each CUDA thread. README.md has the whole picture.
// No type that a kernel takes as an argument may live in namespace simt: argument-dependent look-up would find these
// functions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/sim/vector_types.h"

namespace simt {

// Where in the source a thread meets others.
struct Site {
  const char* file = "";
  int line = 0;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator==(const Site&) const = default;
};

// What threadIdx and its like read.
struct ThreadView {
  uint3 thread_index, block_index;
  dim3 block_dim, grid_dim;
  unsigned lane;
};
// Of the calling fiber, for which it never changes.
[[gnu::const]] ThreadView& self();

// How blocks and threads are run. The defaults come from the environment; tests set them directly.
enum class Schedule { forward, reverse, seeded };
enum class Async { late, eager, seeded };  // when asynchronous copies and products happen
struct Options {
  int threads = 1;                        // of the operating system, over which blocks are spread (METVOX_SIM_THREADS)
  Schedule schedule = Schedule::forward;  // METVOX_SIM_SCHEDULE=forward/reverse/seeded
  Async async = Async::late;              // METVOX_SIM_ASYNC=late/eager/seeded
  uint64_t seed = 1;                      // METVOX_SIM_SEED
  int arch = 900;                         // whose limits hold: 750, 800, 900 ... (METVOX_SIM_ARCH)
  bool strict_exit =
      false;  // a thread that returns while others wait at a barrier is an error (METVOX_SIM_STRICT_EXIT)
};
Options& options();

// Runs a grid and returns when it is done; throws metvox::Error with a report.
struct Launch {
  dim3 grid, block;
  size_t shared_bytes;            // dynamic
  const void* kernel;             // its address, for its name
  void (*run)(const void* args);  // calls the kernel once, for the calling fiber
  const void* args;
  size_t args_bytes;
};
void launch(const Launch& what);

// Ends the launch with a report that names kernel, block and thread.
[[noreturn]] void fail(const std::string& what);

// Barrier `id` of the block; `threads` 0 means all that have not exited.
void barrier(int id, int threads, Site at);
enum class Reduce { count, any, all };
int barrier_reduce(Reduce op, int predicate, Site at);

// The lanes in `mask` meet; the last one runs combine(args, mask) for all, args[lane] being what that lane passed.
using Combine = void (*)(void* const* args, uint32_t mask);
void warp_collective(const char* what, uint32_t mask, void* arg, Combine combine, Site at);
void warp_barrier(uint32_t mask, Site at);  // the one collective that orders memory
// `value` becomes that of lane `source`, or stays where that is negative. An absent lane gives poison.
void warp_shuffle(const char* what, uint32_t mask, void* value, size_t bytes, int source, Site at);
uint32_t warp_ballot(const char* what, uint32_t mask, bool predicate, Site at);

// Shared memory. A static variable is known by its key (the address of a static); the dynamic part has one alignment.
void* shared_static(const void* key, size_t bytes, size_t alignment, const char* name);
void* shared_dynamic(size_t alignment, const char* variable);
uint32_t shared_address(const void* p);

// 16 bytes, zeros where not ok; done as late as the wait allows, poison until then.
void copy_async16(void* to, const void* from, bool ok);
void copy_async_commit();
void copy_async_wait(int groups_left);

// Warp-wide matrix instructions; fragments as the PTX manual lays them out. `row` is this lane's row address.
void load_matrix(int matrices, bool transposed, uint32_t* fragment, const void* row, Site at);
enum class Format { f16, bf16, tf32 };
// D = A B + D, 16 x 8 in f32; K = 16 for the 16-bit formats, 8 for tf32.
void multiply_matrix(Format format, float* d, const uint32_t* a, const uint32_t* b, Site at);

// Atomics go through these, so that the checked build sees one event.
uint32_t atomic_load32(const void* p);
uint64_t atomic_load64(const void* p);
bool atomic_replace32(void* p, uint32_t& expected, uint32_t desired);
bool atomic_replace64(void* p, uint64_t& expected, uint64_t desired);
void thread_fence();

// One access of the calling thread made on its behalf, for the checked build.
void touch(const void* p, size_t bytes, bool write);

}  // namespace simt
