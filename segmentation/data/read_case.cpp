// SPDX-License-Identifier: Apache-2.0
// A case from its files: what is refused here is refused by check, plan, preprocess and predict alike.
#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/sequences.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// What the program can make use of; a scanner's smallest and largest with room to spare.
void require_plausible(const Geometry& g, const Path& path) {
  constexpr double kLeastMm = 0.01, kMostMm = 100, kMostMm3 = 1LL << 31;
  const auto [x, y, z] = g.spacing_mm;
  const auto n = g.shape;
  if (std::min({x, y, z}) < kLeastMm || std::max({x, y, z}) > kMostMm)
    fail(Fault::input, path.string(), ": a spacing of ", x, 'x', y, 'x', z, " mm is not that of an MRI scan (from ",
         kLeastMm, " to ", kMostMm, " mm); mend pixdim and the affine in the header, or its units");
  const double field_mm3 =
      static_cast<double>(n[0]) * x * static_cast<double>(n[1]) * y * static_cast<double>(n[2]) * z;
  if (field_mm3 > kMostMm3)
    fail(Fault::input, path.string(), ": ", n[0], 'x', n[1], 'x', n[2], " voxels of ", x, 'x', y, 'x', z,
         " mm are larger than any scanner's field of view; mend pixdim and the affine in the header, or its units");
  if (std::count(n.begin(), n.end(), 1) > 1)
    fail(Fault::input, path.string(), ": ", n[0], 'x', n[1], 'x', n[2], " voxels are no image; give the whole scan");
}

// A case's own reading: what is thrown names the case.
template <class F>
auto naming_case(const std::string& id, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(e.fault(), named_case(id, e.what()));
  }
}

// Did the reader take voxels as 0?
bool not_finite(const Volume& v) { return !v.warnings.empty() && v.warnings.back().ends_with("taken as 0"); }

bool constant(const Tensor& voxels) {
  const float* x = voxels.data<float>();
  return std::all_of(x, x + voxels.size(), [&](float value) { return value == x[0]; });
}

}  // namespace

Volume read_sequence_header(const Path& path) {
  Volume v = read_nifti_header(path);
  require_plausible(v.geometry, path);
  return v;
}

Volume read_sequence(const Path& path, const Tensor& place) {
  Volume v = read_nifti(path, NonFinite::zero, DType::f32, place);
  require_plausible(v.geometry, path);
  if (!constant(v.voxels)) return v;
  const float value = v.voxels.data<float>()[0];
  if (value == 0)
    fail(Fault::input, path.string(), ": every voxel is 0", not_finite(v) ? " or not finite in single precision" : "",
         ", there is no image in it; export the sequence again");
  v.warnings.push_back(sentence("every voxel is ", value));
  return v;
}

namespace {

[[noreturn]] void fail_grids(const std::string& id, const std::vector<Path>& paths,
                             const std::vector<Geometry>& geometries) {
  std::string grids;
  for (size_t k = 0; k < paths.size(); ++k) grids += "\n  " + paths[k].string() + ": " + describe(geometries[k]);
  fail(Fault::input, "case ", id, ": the sequences lie on different grids; register and resample them to one:", grids);
}

// The voxels on the grid of the first sequence; empty where they do not lie on it. What is to be said of them is added.
Tensor join(const Volume& v, const Path& path, const Geometry& grid, const Path& first,
            std::vector<std::string>& warnings) {
  const Tensor voxels = onto_lattice(v, grid);
  if (voxels && voxels.data<float>() != v.voxels.data<float>())
    warnings.push_back(sentence(path.string(), ": its axes, ", v.geometry.axes(), ", are turned to ", grid.axes(),
                                " as in ", first.string()));
  for (const std::string& w : v.warnings) warnings.push_back(path.string() + ": " + w);
  return voxels;
}

std::vector<Geometry> geometries_of(const std::vector<Path>& paths) {
  std::vector<Geometry> all;
  for (const Path& path : paths) all.push_back(read_sequence_header(path).geometry);
  return all;
}

void copy_voxels(const Tensor& from, const Tensor& to) { std::memcpy(to.view().data, from.view().data, from.bytes()); }

}  // namespace

// Each is read to its place, or copied there at once where its axes are turned.
CaseImages read_case(const CaseFiles& files) {
  check(!files.images.empty(), "read_case: case ", files.id, " has no images");
  const size_t channels = files.images.size();
  return naming_case(files.id, [&] {
    CaseImages out;
    out.geometry = read_sequence_header(files.images.front()).geometry;
    const auto& n = out.geometry.shape;
    out.data = Tensor::empty({static_cast<int64_t>(channels), n[2], n[1], n[0]}, DType::f32);
    std::vector<std::vector<std::string>> warnings(channels);
    parallel_for(static_cast<int64_t>(channels), 1, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c) {
        const Path& path = files.images[static_cast<size_t>(c)];
        const Tensor place = out.data.slice(c, 1).reshape({n[2], n[1], n[0]});
        const Tensor voxels = join(read_sequence(path, place), path, out.geometry, files.images.front(),
                                   warnings[static_cast<size_t>(c)]);
        if (!voxels) fail_grids(files.id, files.images, geometries_of(files.images));
        if (voxels.view().data != place.view().data) copy_voxels(voxels, place);
      }
    });
    for (const auto& of_one : warnings) out.warnings.insert(out.warnings.end(), of_one.begin(), of_one.end());
    return out;
  });
}

CaseImages join_sequences(const std::string& id, const std::vector<Path>& paths, std::vector<Volume> volumes) {
  const size_t channels = volumes.size();
  CaseImages out;
  out.geometry = volumes[0].geometry;
  const Shape& grid = volumes[0].voxels.shape();
  out.data = Tensor::empty({static_cast<int64_t>(channels), grid[0], grid[1], grid[2]}, DType::f32);
  for (size_t c = 0; c < channels; ++c) {
    const Tensor voxels = join(volumes[c], paths[c], out.geometry, paths[0], out.warnings);
    if (!voxels) {
      std::vector<Geometry> geometries;
      for (const Volume& v : volumes) geometries.push_back(v.geometry);
      fail_grids(id, paths, geometries);
    }
    copy_voxels(voxels, out.data.slice(static_cast<int64_t>(c), 1));
    volumes[c].voxels = {};
  }
  return out;
}

SequenceSource sequences_of(const CaseImages& images) {
  const auto& n = images.geometry.shape;
  return {images.geometry, images.data.shape()[0], [data = images.data, n](int64_t c) {
            return data.slice(c, 1).reshape({n[2], n[1], n[0]});
          }};
}

SequenceSource sequences_of(CaseImages&& images) {
  SequenceSource source = sequences_of(std::as_const(images));
  source.memory = std::move(images.data);
  return source;
}

SequenceSource sequences_of(const CaseFiles& files, std::vector<std::string>& warnings) {
  check(!files.images.empty(), "sequences_of: case ", files.id, " has no images");
  const auto geometries = naming_case(files.id, [&] { return geometries_of(files.images); });
  std::vector<bool> told(files.images.size());
  return {geometries.front(), static_cast<int64_t>(files.images.size()),
          [files, geometries, told, &warnings](int64_t c) mutable {
            const auto k = static_cast<size_t>(c);
            std::vector<std::string> of_one;
            const Tensor voxels = naming_case(files.id, [&] {
              return join(read_sequence(files.images[k]), files.images[k], geometries.front(), files.images.front(),
                          of_one);
            });
            if (!voxels) fail_grids(files.id, files.images, geometries);
            if (!told[k]) warnings.insert(warnings.end(), of_one.begin(), of_one.end());
            told[k] = true;
            return voxels;
          }};
}

Tensor read_case_labels(const CaseFiles& files, const Geometry& grid, const Labels& labels) {
  const Volume v = naming_case(files.id, [&] { return read_nifti_labels(files.label); });
  const Tensor out = onto_lattice(v, grid);
  if (!out)
    fail(Fault::input, "case ", files.id, ": the label lies on another grid than the images:\n  ", files.label.string(),
         ": ", describe(v.geometry), "\n  images: ", describe(grid), "\n  resample it to the images, label by label");
  require_known_labels(out, labels, files.id, files.label);
  return out;
}

void require_known_labels(const Tensor& voxels, const Labels& labels, const std::string& id, const Path& path) {
  std::array<int64_t, 256> count{};
  const uint8_t* x = voxels.data<uint8_t>();
  for (int64_t i = 0; i < voxels.size(); ++i) ++count[x[i]];
  std::set<int> known;
  for (const LabelTarget& t : labels.entries) known.insert(t.labels.begin(), t.labels.end());
  std::string unknown, names;
  for (int value = 0; value < 256; ++value)
    if (const int64_t n = count[static_cast<size_t>(value)]; n > 0 && !known.contains(value))
      unknown += sentence(unknown.empty() ? "" : ", ", value, " (", counted(n, "voxel"), ")");
  if (unknown.empty()) return;
  for (int value : known) names += sentence(names.empty() ? "" : ", ", value);
  fail(Fault::input, "case ", id, ": ", path.string(), " holds labels that the data set does not define: ", unknown,
       "; it defines ", names, "; name them in dataset.json or take them out");
}

}  // namespace metvox
