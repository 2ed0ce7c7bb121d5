// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/export_model.h"
#include "tools/cli.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  Path path, out;
  std::vector<std::string> folds;
  std::string format = "onnx", checkpoint = "final";
  bool overwrite = false;
  line.positional("MODEL", path, "model folder that `metvox train` or `metvox import` printed");
  line.option("out,o", out, "DIR", "folder to write", Need::required);
  line.choice("format", format, {"onnx", "safetensors", "nnunet"},
              "onnx, safetensors: a file a fold; nnunet: a model folder that nnU-Net v2 predicts with");
  line.option("folds,f", folds, "FOLD", "folds to export; default: every one that has the checkpoint");
  line.choice("checkpoint", checkpoint, {"final", "best", "latest"}, "which weights of a fold");
  line.option("overwrite", overwrite, "replace files that are there already");
  line.common({Common::json, Common::quiet});
  if (!line.parse()) return 0;
  const ModelFolder model = open_model(path, checkpoint, folds);
  const ExportFormat as = format == "onnx"          ? ExportFormat::onnx
                          : format == "safetensors" ? ExportFormat::safetensors
                                                    : ExportFormat::nnunet;
  const std::vector<Path> files = export_model(model, checkpoint, as, out, overwrite);
  Json names = Json::array();
  for (const Path& file : files) names.push_back(file.string());
  if (line.values().json) print_json({{"format", format}, {"files", names}});
  else
    for (const Path& file : files) std::printf("%s\n", file.c_str());
  return 0;
}

const VerbEntry entry{{"export", Stage::model, "write a model for ONNX Runtime, PyTorch or nnU-Net",
                       "metvox export results/nnunet__dice-bce__3d_fullres --format onnx --out exported", run}};

}  // namespace
}  // namespace metvox
