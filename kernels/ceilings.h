// SPDX-License-Identifier: Apache-2.0
// What a GPU reaches at best, measured on it: what the speed of layers is held against.
#pragma once
#include <algorithm>
#include <string>

#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

struct Ceilings {
  double gflops = 0;         // multiplications and additions of matrix products in that precision, summed in f32
  double gb_per_s = 0;       // read and written by a copy
  std::string of_what = {};  // how gflops was measured
  double ridge() const { return gflops / gb_per_s; }  // operations a byte; what has fewer is bound by memory
  // The least time for so much work that touches so many bytes.
  double floor_ms(double flops, double bytes) const { return std::max(flops / gflops, bytes / gb_per_s) / 1e6; }
};

// The faster of a loop of tensor-core instructions on registers (f32: of multiply-adds) and, where cuBLAS is there, its
// product of 8192 x 8192 matrices. On the simulated GPU the numbers are those of the simulator.
Ceilings measure_ceilings(const Target& gpu);

// The loop: each thread of out.size() / 256 blocks writes the sum of its numbers, which is
// register_sum(..., value) where both factors are `value`.
void multiply_registers(Stream&, DType dtype, bool tf32, int times, float value, View out);
double register_sum(DType dtype, bool tf32, int times, float value);
double register_flops(DType dtype, bool tf32, int times, int64_t threads);

}  // namespace metvox
