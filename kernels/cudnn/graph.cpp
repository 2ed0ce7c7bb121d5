// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/graph.h"

#if METVOX_CUDNN
#include <algorithm>
#include <array>

namespace metvox::cudnn {
namespace {

using Five = std::array<int64_t, 5>;

cudnnDataType_t type_of(DType t) {
  check(t == DType::f32 || t == DType::bf16 || t == DType::f16, "cuDNN engine: asked for ", name_of(t));
  return t == DType::f32 ? CUDNN_DATA_FLOAT : t == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

// (a, b, d, h, w) with b fastest in memory.
Descriptor tensor(int64_t id, int64_t a, int64_t b, const Int3& e, DType t) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const Five extents{a, b, e[0], e[1], e[2]}, strides{volume(e) * b, 1, e[1] * e[2] * b, e[2] * b, b};
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type_of(t));
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, int64_t{16});
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 5, extents.data());
  d.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 5, strides.data());
  d.finalize("a tensor");
  return d;
}

Descriptor convolution(const Conv3dProblem& p) {
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const Int3 dense{1, 1, 1};
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{3});
  d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 3, dense.data());
  d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 3, p.stride.data());
  d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 3, p.pad.data());
  d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 3, p.pad.data());
  d.finalize("a convolution");
  return d;
}

constexpr int64_t kX = 'x', kW = 'w', kY = 'y';

// The attributes of the operation of a pass.
struct Names {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};
Names names_of(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case Pass::backward_data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case Pass::backward_weights: break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

Descriptor graph_of(const Convolution& c, const Place& place) {
  const Conv3dProblem& p = c.p;
  const Names names = names_of(c.pass);
  Descriptor operation(names.type);
  operation.set(names.convolution, convolution(p));
  operation.set(names.x, tensor(kX, p.n, p.c, p.in, p.dtype));
  operation.set(names.w, tensor(kW, p.k, p.c, p.kernel, p.dtype));
  operation.set(names.y, tensor(kY, p.n, p.k, p.out(), p.dtype));
  operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f);
  operation.set(names.beta, CUDNN_TYPE_FLOAT, c.adds ? 1.0f : 0.0f);
  operation.finalize("the operation of a convolution");
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (place.handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, place.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finalize("the graph of a convolution");
  return graph;
}

// What others do not do, for its name. On tensor cores an f32 convolution is one in tf32.
std::string marks_of(const Descriptor& engine, const Conv3dProblem& p) {
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  const int64_t count =
      engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, notes);
  const auto noted = [&](cudnnBackendNumericalNote_t note) { return std::count(notes, notes + count, note) > 0; };
  const bool rounds = noted(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) ||
                      noted(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) ||
                      (noted(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && p.dtype == DType::f32 && !p.tf32);
  return std::string(noted(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ? " varies" : "") + (rounds ? " rounds" : "");
}

std::string name_of_config(const Descriptor& config, const Descriptor& engine) {
  int64_t index = -1;
  engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
  std::string name = sentence("eng", index);
  std::vector<Descriptor> knobs;
  std::array<cudnnBackendDescriptor_t, CUDNN_KNOB_TYPE_COUNTS> handles;
  for (auto& handle : handles) handle = knobs.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR).get();
  const int64_t count = config.get(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                   static_cast<int64_t>(handles.size()), handles.data());
  for (int64_t i = 0; i < count; ++i) {
    cudnnBackendKnobType_t type{};
    int64_t value = 0;
    knobs[i].get(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
    knobs[i].get(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &value);
    name += sentence(" k", static_cast<int>(type), "=", value);
  }
  return name;
}

constexpr int64_t kMostConfigs = 64;  // of one kind of heuristics

void add_configs(const Convolution& c, const Descriptor& graph, const Place& place, cudnnBackendHeurMode_t mode,
                 std::vector<Config>& found) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (place.described) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *place.described);
  heuristics.finalize("heuristics of a convolution");
  std::vector<Descriptor> configs;
  std::array<cudnnBackendDescriptor_t, kMostConfigs> handles;
  for (auto& handle : handles) handle = configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get();
  const int64_t count =
      heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostConfigs, handles.data());
  for (int64_t i = 0; i < count; ++i) {
    const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t address = engine.get();
    configs[i].get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &address);
    const std::string marks = marks_of(engine, c.p);
    if (!marks.empty() && !c.any) continue;
    std::string name = name_of_config(configs[i], engine) + marks;
    if (std::none_of(found.begin(), found.end(), [&](const Config& known) { return known.name == name; }))
      found.push_back({std::move(name), std::move(configs[i])});
  }
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t made = nullptr;
  check_status(library().create_descriptor(type, &made), "cudnnBackendCreateDescriptor");
  owned_.reset(made);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                     const void* values) {
  check_status(library().set_attribute(get(), name, type, count, values), "cudnnBackendSetAttribute");
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.get());
}

void Descriptor::finalize(const char* doing) { check_status(library().finalize(get()), doing); }

int64_t Descriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room,
                        void* values) const {
  int64_t count = 0;
  check_status(library().get_attribute(get(), name, type, room, &count, values), "cudnnBackendGetAttribute");
  return std::min(count, room);
}

std::vector<Config> configs(const Convolution& c, const Place& place) {
  check(c.p.c2 == 0, "cuDNN engine: one input at a time");
  const Descriptor graph = graph_of(c, place);
  std::vector<Config> found;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK})
    add_configs(c, graph, place, mode, found);
  return found;
}

Plan::Plan(const Config& config, const Place& place) : plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
  if (place.handle) plan_.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, place.handle);
  if (place.described) plan_.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *place.described);
  plan_.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.descriptor);
  plan_.finalize("a plan");
  int64_t bytes = 0;
  plan_.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes);
  workspace_bytes_ = static_cast<size_t>(bytes);
}

void Plan::run(Stream& stream, const void* x, const void* w, const void* y, void* workspace) const {
  const cudnnHandle_t mine = handle(stream.device());
  check_status(library().set_stream(mine, static_cast<cudaStream_t>(stream.handle())), "cudnnSetStream");
  const std::array<int64_t, 3> ids{kX, kW, kY};
  const std::array<const void*, 3> addresses{x, w, y};
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, addresses.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize("addresses");
  check_status(library().execute(mine, plan_.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace metvox::cudnn
#endif
