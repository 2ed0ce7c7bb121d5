// SPDX-License-Identifier: Apache-2.0
// Preprocessed cases as safetensors files, and the properties of a case as JSON.
#include <cmath>

#include "io/safetensors.h"
#include "segmentation/data/preprocess.h"

namespace metvox {
namespace {

// Header fields that no code vouches for may be NaN, which JSON writes as null.
template <size_t N>
std::array<double, N> numbers(const Json& json, const Path& where) {
  std::array<double, N> out{};
  if (!json.is_array() || json.size() != N)
    fail(Fault::input, where.string(), ": ", json.dump(), " is no list of ", N, " numbers");
  for (size_t i = 0; i < N; ++i) {
    if (!json[i].is_number() && !json[i].is_null())
      fail(Fault::input, where.string(), ": ", json.dump(), " is no list of ", N, " numbers");
    out[i] = json[i].is_null() ? std::nan("") : json[i].get<double>();
  }
  return out;
}

Json geometry_json(const Geometry& g) {
  Json out;
  out["shape"] = g.shape;
  out["spacing_mm"] = g.spacing_mm;
  out["affine"] = g.affine.m;
  out["qform_code"] = g.qform_code;
  out["sform_code"] = g.sform_code;
  out["quatern"] = g.quatern;
  out["qfac"] = g.qfac;
  out["srow"] = g.srow;
  out["xyzt_units"] = g.xyzt_units;
  out["version"] = g.version;
  return out;
}

Geometry geometry_from_json(const Json& json, const Path& where) {
  Geometry g;
  g.shape = get<std::array<int64_t, 3>>(json, "shape", where);
  g.spacing_mm = get<std::array<double, 3>>(json, "spacing_mm", where);
  g.affine.m = get<decltype(g.affine.m)>(json, "affine", where);
  g.qform_code = get<int>(json, "qform_code", where);
  g.sform_code = get<int>(json, "sform_code", where);
  g.quatern = numbers<6>(get<Json>(json, "quatern", where), where);
  const Json qfac = get<Json>(json, "qfac", where), srow = get<Json>(json, "srow", where);
  g.qfac = numbers<1>(Json::array({qfac}), where)[0];
  if (!srow.is_array() || srow.size() != 3) fail(Fault::input, where.string(), ": srow is ", srow.dump());
  for (size_t i = 0; i < 3; ++i) g.srow[i] = numbers<4>(srow[i], where);
  g.xyzt_units = get<uint8_t>(json, "xyzt_units", where);
  g.version = get<int>(json, "version", where);
  return g;
}

CaseProperties properties_in(const std::map<std::string, std::string>& metadata, const Path& path) {
  const auto found = metadata.find("properties");
  const Json json = found == metadata.end() ? Json() : Json::parse(found->second, nullptr, false);
  if (!json.is_object())
    fail(Fault::input, path.string(), ": this is no preprocessed case; its metadata hold no properties");
  return properties_from_json(json, path);
}

std::string locations_name(size_t k) { return "locations_" + std::to_string(k); }

}  // namespace

Json to_json(const CaseProperties& p) {
  Json out;
  out["id"] = p.id;
  out["shape_before_cropping"] = p.shape_before_cropping;
  out["bbox_first"] = p.bbox_first;
  out["bbox_last"] = p.bbox_last;
  out["shape_after_cropping"] = p.shape_after_cropping;
  out["spacing_mm"] = p.spacing_mm;
  out["geometry"] = geometry_json(p.geometry);
  return out;
}

CaseProperties properties_from_json(const Json& json, const Path& where) {
  CaseProperties p;
  p.id = get<std::string>(json, "id", where);
  p.shape_before_cropping = get<Int3>(json, "shape_before_cropping", where);
  p.bbox_first = get<Int3>(json, "bbox_first", where);
  p.bbox_last = get<Int3>(json, "bbox_last", where);
  p.shape_after_cropping = get<Int3>(json, "shape_after_cropping", where);
  p.spacing_mm = get<Double3>(json, "spacing_mm", where);
  p.geometry = geometry_from_json(get<Json>(json, "geometry", where), where);
  for (size_t a = 0; a < 3; ++a)
    if (p.bbox_first[a] < 0 || p.bbox_last[a] > p.shape_before_cropping[a] || p.shape_after_cropping[a] < 1 ||
        p.bbox_last[a] - p.bbox_first[a] != p.shape_after_cropping[a] || !(p.spacing_mm[a] > 0))
      fail(Fault::input, where.string(), ": the properties of case ", p.id,
           " contradict each other; preprocess it again");
  return p;
}

void write_preprocessed(const Path& path, const PreprocessedCase& c) {
  std::vector<NamedView> tensors{{"data", c.data.view()}};
  for (size_t k = 0; k < c.locations.size(); ++k) tensors.push_back({locations_name(k), c.locations[k].view()});
  if (c.seg) tensors.push_back({"seg", c.seg.view()});
  write_safetensors(path, tensors, {{"properties", json_text(to_json(c.properties), -1)}});
}

PreprocessedCase read_preprocessed(const Path& path) {
  SafeTensors file = read_safetensors(path);
  PreprocessedCase c;
  c.properties = properties_in(file.metadata, path);
  const auto take = [&](const std::string& name, DType dtype, int rank) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) return Tensor{};
    if (found->second.dtype() != dtype || found->second.shape().rank() != rank)
      fail(Fault::input, path.string(), ": ", name, " is ", found->second.shape(), " ", name_of(found->second.dtype()));
    return found->second;
  };
  c.data = take("data", DType::f32, 4);
  c.seg = take("seg", DType::i8, 3);
  if (!c.data) fail(Fault::input, path.string(), ": the tensor data is missing");
  const Shape& n = c.data.shape();
  if (c.seg && c.seg.shape() != Shape{n[1], n[2], n[3]})
    fail(Fault::input, path.string(), ": data are ", n, " but seg is ", c.seg.shape());
  while (file.tensors.contains(locations_name(c.locations.size()))) {
    c.locations.push_back(take(locations_name(c.locations.size()), DType::i32, 2));
    const Tensor& v = c.locations.back();
    if (v.shape()[1] != 3) fail(Fault::input, path.string(), ": locations are ", v.shape(), ", expected (n, 3)");
    for (int64_t i = 0; i < v.size(); ++i)
      if (v.data<int32_t>()[i] < 0 || v.data<int32_t>()[i] >= n[static_cast<int>(1 + i % 3)])
        fail(Fault::input, path.string(), ": a location lies outside the case; preprocess it again");
  }
  return c;
}

CaseProperties read_properties(const Path& path) { return properties_in(read_safetensors_header(path).metadata, path); }

}  // namespace metvox
