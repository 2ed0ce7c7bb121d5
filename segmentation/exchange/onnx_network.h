// SPDX-License-Identifier: Apache-2.0
// A network's graph, op by op, as an ONNX file.
#pragma once
#include "io/onnx.h"
#include "layers/parameter.h"

namespace metvox {

// `logits` is drawn from the input `images`; both may have any first extent. Weights are the store's.
OnnxFile onnx_network(Value images, Value logits, const ParameterStore& store);

}  // namespace metvox
