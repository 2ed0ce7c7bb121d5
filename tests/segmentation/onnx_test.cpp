// SPDX-License-Identifier: Apache-2.0
// Exported ONNX files, run by ONNX Runtime, against this program; skips where Python (METVOX_PYTHON, else python3) has
// no onnxruntime.
#include <cmath>
#include <cstdlib>

#include "../support/mixed.h"
#include "fake_model.h"
#include "kernels/pointwise.h"
#include "segmentation/exchange/export_model.h"
#include "segmentation/exchange/import_model.h"

namespace metvox {
namespace {

const Path kSource = METVOX_SOURCE_DIR, kGolden = kSource / "tests" / "golden" / "exchange";

int run_python(const std::string& arguments) {
  const char* python = std::getenv("METVOX_PYTHON");
  const std::string script = (kSource / "tests" / "support" / "run_onnx.py").string();
  return std::system(
      (std::string(python ? python : "python3") + ' ' + script + ' ' + arguments + " 2>/dev/null").c_str());
}

// One window through the network in one type; logits (N, C, D, H, W) in PyTorch's order.
std::vector<double> logits_of(const ModelFolder& model, DType type, const std::vector<float>& images) {
  ParameterStore store(type);
  const auto network = find_network(model.network).make(store, model.config(), 2, 3);
  const Path file = checkpoint_path(model, model.folds.front(), "final");
  load_parameters(store, read_safetensors(file), file);
  const Int3 patch = model.config().patch();
  Graph graph;
  const Value x = graph.input("images", {{1, 2, patch[0], patch[1], patch[2]}, Kind::activation});
  const Value y = network->build(x, 1).front();
  Program program(graph, {y}, Mode::infer, {{}, type, type == DType::f64 ? "reference" : ""},
                  store.buffers(Mode::infer), std::make_shared<Arena>());
  const Tensor window = Tensor::empty(x.shape(), DType::f32);
  const int64_t voxels = volume(patch);
  for (int64_t i = 0; i < window.size(); ++i) window.data<float>()[i] = images[i % 2 * voxels + i / 2];
  Stream stream;
  program.set(stream, x, window.view());
  program.run(stream);
  const Tensor raw = program.read(stream, y), out = Tensor::empty(raw.shape(), DType::f64);
  convert(stream, raw.view(), out.view());
  std::vector<double> logits(static_cast<size_t>(out.size()));
  for (int64_t i = 0; i < out.size(); ++i) logits[i] = out.data<double>()[i % voxels * 3 + i / voxels];
  return logits;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

void expect_same_in_onnx_runtime(const Path& folder, const ModelFolder& model) {
  const Path file = export_model(model, "final", ExportFormat::onnx, folder, false).front();
  std::vector<float> images(static_cast<size_t>(2 * volume(model.config().patch())));
  for (size_t i = 0; i < images.size(); ++i)
    images[i] = static_cast<float>(2 * test::mixed(static_cast<int64_t>(i), "images"));
  write_bytes(folder / "in", std::as_bytes(std::span(images)));
  ASSERT_EQ(run_python(file.string() + ' ' + (folder / "in").string() + ' ' + (folder / "out").string()), 0);
  const Bytes raw = read_bytes(folder / "out");
  const auto* theirs = reinterpret_cast<const float*>(raw.data());
  const std::vector<double> found(theirs, theirs + raw.size() / sizeof(float)),
      exact = logits_of(model, DType::f64, images), ours = logits_of(model, DType::f32, images);
  ASSERT_EQ(found.size(), exact.size());
  // Their float may be as far from the truth as ours, and a few times that.
  EXPECT_LE(largest_difference(found, exact), 4 * largest_difference(ours, exact));
}

}  // namespace

TEST(onnx, runtime_gives_the_same_logits) {
  if (run_python("") != 0) GTEST_SKIP() << "no onnxruntime; name a Python that has it in METVOX_PYTHON";
  for (const char* name : {"plain", "resenc"}) {
    SCOPED_TRACE(name);
    const Path results = fresh_dir(std::string("results ") + name);
    const Path model = import_nnunet({kGolden / name, results, {}, "final", false}).model;
    expect_same_in_onnx_runtime(fresh_dir(std::string("onnx_") + name), open_model(model));
  }
  MonaiImport request{kGolden / "segresnet" / "model.pt", fresh_dir("results segresnet"), {}, false};
  request.described = {read_description(kGolden / "segresnet" / "dataset.json"),
                       read_plans(kGolden / "segresnet" / "plans.json"), "3d_fullres"};
  expect_same_in_onnx_runtime(fresh_dir("onnx_segresnet"), open_model(import_monai(request).model));
}

TEST(onnx, a_file_holds_the_weights_and_the_plans) {
  const Path model = write_fake_model(fresh_dir("results"), {8, 8, 12}, 1), out = fresh_dir("out");
  const auto files = export_model(open_model(model), "final", ExportFormat::onnx, out, false);
  ASSERT_EQ(files, std::vector<Path>{out / "fold_0.onnx"});
  const std::string text = read_text(files[0]);
  for (const char* part : {"metvox", "Conv", "LeakyRelu", "InstanceNormalization",
                           "encoder.stages.0.0.convs.0.conv.weight", "configurations", "channel_names", "logits"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  EXPECT_THROW(export_model(open_model(model), "final", ExportFormat::onnx, out, false), Error);
}

}  // namespace metvox
