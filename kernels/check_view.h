// SPDX-License-Identifier: Apache-2.0
// What every engine asks of the views and the stream it is handed.
#pragma once
#include "tensor/tensor.h"

namespace metvox {

inline void check_view(const char* op, const char* name, const View& view, const Shape& shape, DType dtype) {
  check(view.data || shape.size() == 0, op, ": ", name, " has no memory");
  check(view.shape == shape && view.dtype == dtype, op, ": ", name, " is ", view.shape, " ", name_of(view.dtype),
        ", expected ", shape, " ", name_of(dtype));
}

// For the CPU's side of work that has no engine of its own for the stream's device.
inline void check_cpu(const char* op, const Stream& stream) {
  check(stream.device().is_cpu(), op, ": not made for ", name_of(stream.device()));
}

}  // namespace metvox
