// SPDX-License-Identifier: Apache-2.0
#include "kernels/onednn/onednn.h"

#include <oneapi/dnnl/dnnl_debug.h>

#include "kernels/cpu/isa.h"

namespace metvox::onednn {
namespace {

const dnnl::stream& stream() {
  static const dnnl::stream s(cpu_engine());
  return s;
}

dnnl::reorder::primitive_desc reorder_desc(const dnnl::memory::desc& from, const dnnl::memory::desc& to,
                                           bool add_to_output) {
  return {cpu_engine(), from, cpu_engine(), to, attributes(add_to_output)};
}
Call reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to, bool add_to_output = false) {
  const auto desc = reorder_desc(from, to, add_to_output);
  return {dnnl::reorder(desc), desc.scratchpad_desc(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}};
}

}  // namespace

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine = [] {
    if (isa() == Isa::v2) dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
    if (isa() == Isa::v3) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

dnnl::memory::data_type type_of(DType t) {
  check(t == DType::f32 || t == DType::bf16, "oneDNN engine: asked for ", name_of(t));
  return t == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::dims dims_of(const Int3& e) { return {e[0], e[1], e[2]}; }

dnnl::memory::desc activation(int64_t n, int64_t c, const Int3& e, DType t) {
  return {{n, c, e[0], e[1], e[2]}, type_of(t), dnnl::memory::format_tag::ndhwc};
}
dnnl::memory::desc weights(int64_t a, int64_t b, const Int3& e, DType t) {
  return {{a, b, e[0], e[1], e[2]}, type_of(t), dnnl::memory::format_tag::abcde};
}
dnnl::memory::desc weights_any(int64_t a, int64_t b, const Int3& e, DType t) {
  return {{a, b, e[0], e[1], e[2]}, type_of(t), dnnl::memory::format_tag::any};
}

dnnl::primitive_attr attributes(bool add_to_output) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add_to_output) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  return attr;
}

std::optional<std::string> declines_type(DType t) {
  if (t != DType::f32 && t != DType::bf16) return sentence("oneDNN computes in f32 and bf16, not in ", name_of(t));
  if (t == DType::bf16 && !has_bf16_instructions()) return "this CPU has no bf16 instructions (avx512_bf16 or AMX)";
  return std::nullopt;
}

std::optional<std::string> declines_primitives(const std::vector<std::string>& implementations) {
  for (const std::string& name : implementations)
    if (name.find("ref") != std::string::npos)
      return sentence("oneDNN would fall back to its slow implementation ", name);
  return std::nullopt;
}

std::string reorder_name(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  return reorder_desc(from, to, false).impl_info_str();
}

Call::Call(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
           const std::vector<Argument>& arguments)
    : primitive_(primitive), scratch_bytes_(scratchpad.get_size()) {
  std::vector<Argument> all = arguments;
  all.push_back({DNNL_ARG_SCRATCHPAD, scratchpad});
  for (const Argument& a : all) {
    memories_.emplace_back(a.desc, cpu_engine(), nullptr);
    arguments_.push_back({a.id, memories_.back().get()});
  }
}

void Call::operator()(std::initializer_list<void*> addresses, void* scratch) const {
  check(addresses.size() + 1 == memories_.size(), "oneDNN call: ", addresses.size(), " addresses for ",
        memories_.size() - 1);
  size_t i = 0;
  for (void* address : addresses) memories_[i++].set_data_handle(address);
  memories_[i].set_data_handle(scratch);
  const dnnl_status_t status =
      dnnl_primitive_execute(primitive_.get(), stream().get(), static_cast<int>(arguments_.size()), arguments_.data());
  check(status == dnnl_success, "oneDNN: ", dnnl_status2str(status));
}

void PackedWeights::add(const dnnl::memory::desc& master, const dnnl::memory::desc& packed) {
  Call call = reorder(master, packed);
  const size_t offset = layout_.add(packed.get_size());
  pieces_.push_back({call, offset, layout_.add(call.scratch_bytes())});
}

void PackedWeights::pack(void* master, void* packed) const {
  for (const Piece& piece : pieces_)
    piece.reorder({master, onednn::at(packed, piece.offset)}, onednn::at(packed, piece.scratch_offset));
}

WriteGradient::WriteGradient(const dnnl::memory::desc& result, const dnnl::memory::desc& master)
    : overwrite_(reorder(result, master)), add_(reorder(result, master, true)) {}

void WriteGradient::operator()(void* result, void* master, Grad grad, void* scratch) const {
  (grad == Grad::accumulate ? add_ : overwrite_)({result, master}, scratch);
}

}  // namespace metvox::onednn
