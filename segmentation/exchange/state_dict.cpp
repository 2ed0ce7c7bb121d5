// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/state_dict.h"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"

namespace metvox {
namespace {

void replace(std::string& text, std::string_view from, std::string_view to) {
  if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

// The one name of a weight that has several.
std::string canonical(std::string name) {
  for (bool stripped = true; stripped;) {
    stripped = false;
    for (std::string_view prefix : {"module.", "_orig_mod.", "network."})
      if (name.starts_with(prefix)) name.erase(0, prefix.size()), stripped = true;
  }
  if (name.starts_with("decoder.encoder.")) name.erase(0, std::string_view("decoder.").size());
  replace(name, ".all_modules.0.", ".conv.");
  replace(name, ".all_modules.1.", ".norm.");
  return name;
}

bool same_place(const PickledTensor& a, const PickledTensor& b) {
  return a.storage == b.storage && a.first == b.first && a.shape == b.shape && a.strides == b.strides;
}

std::string written(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t e : shape) text += (text.empty() ? "" : ", ") + std::to_string(e);
  return '(' + text + ')';
}

// The shape of the file's tensor, with the kernel axis that weights of 2-D plans lack.
std::vector<int64_t> as_3d(std::vector<int64_t> shape, const Shape& wanted) {
  constexpr int kRank = 5, kFirstKernelAxis = 2;
  if (wanted.rank() == kRank && shape.size() == kRank - 1 && wanted[kFirstKernelAxis] == 1)
    shape.insert(shape.begin() + kFirstKernelAxis, 1);
  return shape;
}

std::vector<int64_t> extents(const Shape& shape) {
  std::vector<int64_t> out;
  for (int a = 0; a < shape.rank(); ++a) out.push_back(shape[a]);
  return out;
}

}  // namespace

StateDict::StateDict(TorchFile& file, const PickleValue& weights) : file_(file) {
  for (const auto& [name, value] : weights.entries()) {
    if (!value.is_tensor()) fail(Fault::input, file.path().string(), ": ", name, " among its weights is no tensor");
    const auto [known, fresh] = tensors_.emplace(canonical(name), value.tensor());
    if (!fresh && !same_place(known->second, value.tensor()))
      fail(Fault::input, file.path().string(), ": ", name, " and ", known->first,
           " are one weight of the network, but two tensors here");
  }
}

const std::vector<int64_t>& StateDict::shape(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(Fault::input, file_.path().string(), ": has no weight ", name);
  return found->second.shape;
}

void StateDict::require_fits(const ParameterStore& store) const {
  const std::string where = file_.path().string();
  for (const Parameter& p : store.parameters()) {
    const auto found = tensors_.find(p.name);
    if (found == tensors_.end())
      fail(Fault::input, where, ": has no weight ", p.name, ' ', p.shape, ", which the network needs");
    if (as_3d(found->second.shape, p.shape) != extents(p.shape))
      fail(Fault::input, where, ": ", p.name, " is ", written(found->second.shape), ", the network needs ", p.shape);
  }
  for (const auto& [name, tensor] : tensors_)
    if (!store.find(name))
      fail(Fault::input, where, ": holds the weight ", name, ' ', written(tensor.shape),
           ", which the network has not; it is of another architecture");
}

void StateDict::load(ParameterStore& store) {
  require_fits(store);
  Stream cpu;
  for (const Parameter& p : store.parameters()) {
    const Tensor from = file_.read(tensors_.at(p.name), p.name).reshape(p.shape);
    if (from.dtype() != DType::f32 && from.dtype() != DType::f64 && from.dtype() != DType::bf16 &&
        from.dtype() != DType::f16)
      fail(Fault::input, file_.path().string(), ": ", p.name, " is ", name_of(from.dtype()), ", no weight");
    const Tensor value = Tensor::empty(p.shape, store.master());
    convert(cpu, from.view(), value.view());
    const float* x = value.data<float>();
    if (!std::all_of(x, x + value.size(), [](float v) { return std::isfinite(v); }))
      fail(Fault::input, file_.path().string(), ": ", p.name, " holds numbers that are not finite");
    store.write(p, value);
  }
  store.changed();
}

std::vector<std::string> torch_names(const ParameterStore& store, const std::string& name) {
  std::vector<std::string> names{name};
  const auto add_alias = [&](std::string_view part, std::string_view sibling, std::string_view alias) {
    const size_t at = name.rfind(part);
    if (at == std::string::npos) return;
    const std::string module = name.substr(0, at);
    if (store.find(module + std::string(sibling)))
      names.push_back(module + std::string(alias) + name.substr(at + part.size()));
  };
  add_alias(".conv.", ".norm.weight", ".all_modules.0.");
  add_alias(".norm.", ".conv.weight", ".all_modules.1.");
  if (name.starts_with("encoder."))
    for (size_t i = 0, n = names.size(); i < n; ++i) names.push_back("decoder." + names[i]);
  return names;
}

}  // namespace metvox
