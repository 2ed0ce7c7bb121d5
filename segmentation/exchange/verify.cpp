// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/verify.h"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "segmentation/inference/predict_cases.h"
#include "segmentation/inference/previous_stage.h"

namespace metvox {
namespace {

constexpr double kSlack = 4;    // two implementations, each with its own order of sums, and a few values of many
constexpr double kTies = 1e-4;  // share of voxels whose label may differ: logits that all but tie

// What the oracle says of a stage.
struct Recorded {
  Shape shape;
  double float32_error = 0;
  const Tensor* values = nullptr;
};

class Oracle {
 public:
  explicit Oracle(const Path& dir) : path_(dir / "oracle.safetensors"), file_(read(path_)) {
    const auto text = file_.metadata.find("oracle");
    if (text == file_.metadata.end()) fail(Fault::input, path_.string(), ": no \"oracle\" in its metadata");
    json_ = parse_json(text->second, path_);
  }
  const Json& json() const { return json_; }
  const Path& path() const { return path_; }
  std::vector<std::string> stages() const {
    std::vector<std::string> names;
    const Json all = get<Json>(json_, "stages", path_);
    for (const auto& [name, stage] : all.items()) names.push_back(name);
    return names;
  }
  Recorded stage(const std::string& name) const {
    const std::string where = path_.string() + ": stage " + name;
    const Json stage = get<Json>(json_.at("stages"), name, path_);
    const auto extents = get<std::vector<int64_t>>(stage, "shape", where);
    if (extents.empty() || extents.size() > Shape::kMaxRank ||
        std::any_of(extents.begin(), extents.end(), [](int64_t e) { return e < 1 || e > 1 << 16; }))
      fail(Fault::input, where, ": is of no shape");
    const auto values = file_.tensors.find(name);
    if (values == file_.tensors.end() || values->second.dtype() != DType::f64 || values->second.size() < 1)
      fail(Fault::input, where, ": has no tensor f64 of its values");
    return {Shape(extents), get<double>(stage, "float32_error", where), &values->second};
  }

 private:
  static SafeTensors read(const Path& path) {
    if (!std::filesystem::exists(path))
      fail(Fault::input, path.parent_path().parent_path().string(),
           ": carries no oracle/oracle.safetensors; tools/make_oracle.py records one from the reference");
    return read_safetensors(path);
  }
  Path path_;
  SafeTensors file_;
  Json json_;
};

// Compares `value(i)`, i in PyTorch's order of `shape`, with what was recorded.
template <class Value>
VerifiedStage compare(const Oracle& oracle, const std::string& name, const Shape& shape, Value value) {
  const Recorded r = oracle.stage(name);
  if (r.shape != shape)
    fail(Fault::verification, "stage ", name, ": this program makes ", shape, ", the reference made ", r.shape);
  VerifiedStage out{name, r.values->size(), 0, 0, false};
  const double* expected = r.values->data<double>();
  double largest = 0;
  for (int64_t k = 0; k < out.values; ++k) {
    const int64_t at = out.values == 1 ? 0 : k * (shape.size() - 1) / (out.values - 1);
    const double difference = std::abs(value(at) - expected[k]);
    out.error = std::isfinite(difference) ? std::max(out.error, difference) : HUGE_VAL;
    largest = std::max(largest, std::abs(expected[k]));
  }
  out.limit = kSlack * std::max(r.float32_error, largest * 0x1p-24);
  out.ok = out.error <= out.limit;
  return out;
}

VerifiedStage compare(const Oracle& oracle, const std::string& name, const Tensor& t) {
  return compare(oracle, name, t.shape(), [&](int64_t i) { return static_cast<double>(t.data<float>()[i]); });
}

// The values of a node, (N, C, D, H, W) but channels last in memory.
VerifiedStage compare_layer(const Oracle& oracle, const std::string& name, const Tensor& t) {
  const Shape s = t.shape();
  const int64_t voxels = s[2] * s[3] * s[4];
  return compare(oracle, name, s, [&](int64_t i) {
    const int64_t c = i / voxels % s[1], voxel = i % voxels;
    return static_cast<double>(t.data<float>()[voxel * s[1] + c]);
  });
}

// Labels may differ where logits tie; the error is the share of voxels that do.
VerifiedStage compare_labels(const Oracle& oracle, const Tensor& labels) {
  int64_t differing = 0;
  VerifiedStage out = compare(oracle, "export", labels.shape(),
                              [&](int64_t i) { return static_cast<double>(labels.data<uint8_t>()[i]); });
  const Tensor& expected = *oracle.stage("export").values;
  for (int64_t k = 0; k < expected.size(); ++k) {
    const int64_t at = k * (labels.size() - 1) / std::max<int64_t>(expected.size() - 1, 1);
    differing += labels.data<uint8_t>()[at] != expected.data<double>()[k];
  }
  out.error = static_cast<double>(differing) / static_cast<double>(expected.size());
  out.limit = kTies;
  out.ok = out.error <= out.limit;
  return out;
}

CaseFiles oracle_case(const Path& dir, const ModelFolder& model, const std::string& id) {
  std::vector<std::string> faults;
  for (CaseFiles& files : find_inputs(dir, model.dataset.channel_names, &faults))
    if (files.id == id) return std::move(files);
  fail(Fault::input, dir.string(), ": has no images of the case ", id, faults.empty() ? "" : "; " + faults.front());
}

// One window, the first, through the network: every value that the oracle has.
void compare_layers(const Oracle& oracle, const ModelFolder& model, const std::string& fold,
                    const std::string& checkpoint, const Target& target, const Tensor& data,
                    std::vector<VerifiedStage>& out) {
  ParameterStore store(DType::f32, target.device);
  const int64_t channels = input_channels(model.dataset, model.config());
  const auto network = find_network(model.network)
                           .make(store, model.config(), static_cast<int>(channels),
                                 static_cast<int>(model.dataset.labels.heads().size()));
  const Path file = checkpoint_path(model, fold, checkpoint);
  load_parameters(store, read_safetensors(file), file);
  const Int3 patch = model.config().patch();
  Graph graph;
  const Value x = graph.input("images", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
  const Value y = network->build(x, 1).front();
  std::vector<Value> values;
  std::vector<std::string> names;
  for (const std::string& stage : oracle.stages()) {
    constexpr std::string_view kLayer = "layer ";
    if (!stage.starts_with(kLayer)) continue;
    const auto& nodes = graph.nodes();
    const auto node = std::find_if(nodes.begin(), nodes.end(),
                                   [&](const Node& n) { return n.op && n.name == stage.substr(kLayer.size()); });
    if (node == nodes.end())
      fail(Fault::input, oracle.path().string(), ": records ", stage, ", which the network of the model has not");
    values.push_back({&graph, static_cast<int>(node - nodes.begin())});
    names.push_back(stage);
  }
  std::vector<Value> outputs = values;
  if (std::none_of(values.begin(), values.end(), [&](Value v) { return v.id == y.id; })) outputs.push_back(y);
  Program program(graph, outputs, Mode::infer, target, store.buffers(Mode::infer),
                  std::make_shared<Arena>(target.device));
  const Shape& n = data.shape();
  const SlidingWindows windows({n[1], n[2], n[3]}, patch, .5);
  const Tensor window = Tensor::empty(x.shape(), DType::f32);
  Stream stream(target.device), cpu;
  windows.cut(cpu, data.view(), 0, 0, window.view());
  program.set(stream, x, window.view());
  program.run(stream);
  for (size_t i = 0; i < values.size(); ++i) {
    const Tensor raw = program.read(stream, values[i]), as_float = Tensor::empty(raw.shape(), DType::f32);
    convert(cpu, raw.view(), as_float.view());
    out.push_back(compare_layer(oracle, names[i], as_float));
  }
}

}  // namespace

bool Certificate::ok() const {
  return std::all_of(stages.begin(), stages.end(), [](const VerifiedStage& s) { return s.ok; });
}

Certificate verify_model(const ModelFolder& model, const std::string& checkpoint, const Target& target) {
  const Path dir = model.path / "oracle";
  const Oracle oracle(dir);
  Certificate out;
  out.case_id = get<std::string>(oracle.json(), "case", oracle.path());
  out.fold = get<std::string>(oracle.json(), "fold", oracle.path());
  out.made_with = get<Json>(oracle.json(), "made_with", oracle.path());
  if (std::find(model.folds.begin(), model.folds.end(), out.fold) == model.folds.end())
    fail(Fault::input, oracle.path().string(), ": is of fold ", out.fold, ", which the model has not");
  const CaseImages images = read_case(oracle_case(dir, model, out.case_id));
  out.stages.push_back(compare(oracle, "read", images.data));
  const Tensor previous = read_previous_stage(out.case_id, model, images.geometry, dir / "previous_stage");
  const auto prepared = [&](const Configuration& c) {
    return preprocess_case(out.case_id, images, previous, model.plans, c, model.dataset.labels, 0);
  };
  PreprocessedCase c = prepared(model.config());
  if (previous) c.data = with_previous_labels(c.data, c.seg, previous_labels(model.dataset, model.config()));
  out.stages.push_back(compare(oracle, "crop", {3, 2}, [&](int64_t i) {
    return static_cast<double>((i % 2 ? c.properties.bbox_last : c.properties.bbox_first)[static_cast<size_t>(i / 2)]);
  }));
  Configuration unresampled = model.config();  // at the case's own spacing there is nothing to resample
  const Double3& own = c.properties.spacing_mm;
  unresampled.spacing_mm.assign(own.end() - static_cast<long>(unresampled.spacing_mm.size()), own.end());
  out.stages.push_back(compare(oracle, "normalise", prepared(unresampled).data));
  out.stages.push_back(compare(oracle, "resample", c.data));
  compare_layers(oracle, model, out.fold, checkpoint, target, c.data, out.stages);
  Predictor predictor(model, {out.fold}, checkpoint, {.5, true, target});
  const Tensor logits = predictor.logits(c.data, [](int64_t, int64_t) {});
  out.stages.push_back(compare(oracle, "window", logits));
  out.stages.push_back(
      compare_labels(oracle, restore_labels(logits, c.properties, model.plans, model.config(), model.dataset.labels)));
  return out;
}

}  // namespace metvox
