// SPDX-License-Identifier: Apache-2.0
// Models of ours for others: safetensors and ONNX, a file a fold, or a folder that nnU-Net v2 predicts with.
#pragma once
#include "segmentation/networks/model.h"

namespace metvox {

// safetensors: DIR/fold_K.safetensors, the weights alone under PyTorch's names.
// onnx: DIR/fold_K.onnx, "images" f32 (N, C, D, H, W) of the plan's patch to "logits" (N, heads, D, H, W).
// nnunet: DIR/plans.json, dataset.json, fold_K/checkpoint_NAME.pth, as nnUNetv2_predict_from_modelfolder takes them.
enum class ExportFormat { safetensors, onnx, nnunet };

// Exports model.folds and returns the files written. Throws Error (Fault::usage) when one is there already, without
// `overwrite`.
std::vector<Path> export_model(const ModelFolder& model, const std::string& checkpoint, ExportFormat format,
                               const Path& dir, bool overwrite);

}  // namespace metvox
