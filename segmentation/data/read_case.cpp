// SPDX-License-Identifier: Apache-2.0
// A case from its files: what is refused here is refused by check, plan, preprocess and predict alike.
#include <algorithm>
#include <cstring>
#include <set>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/dataset.h"
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

Volume read_sequence(const Path& path) {
  Volume v = read_nifti(path);
  require_plausible(v.geometry, path);
  if (!constant(v.voxels)) return v;
  const float value = v.voxels.data<float>()[0];
  if (value == 0)
    fail(Fault::input, path.string(), ": every voxel is 0", not_finite(v) ? " or not finite in single precision" : "",
         ", there is no image in it; export the sequence again");
  v.warnings.push_back(sentence("every voxel is ", value));
  return v;
}

CaseImages read_case(const CaseFiles& files) {
  check(!files.images.empty(), "read_case: case ", files.id, " has no images");
  const size_t channels = files.images.size();
  std::vector<Volume> volumes(channels);
  return naming_case(files.id, [&] {
    parallel_for(static_cast<int64_t>(channels), 1, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c)
        volumes[static_cast<size_t>(c)] = read_sequence(files.images[static_cast<size_t>(c)]);
    });
    return join_sequences(files.id, files.images, std::move(volumes));
  });
}

CaseImages join_sequences(const std::string& id, const std::vector<Path>& paths, std::vector<Volume> volumes) {
  const size_t channels = volumes.size();
  CaseImages out;
  out.geometry = volumes[0].geometry;
  const Shape& grid = volumes[0].voxels.shape();
  out.data = Tensor::empty({static_cast<int64_t>(channels), grid[0], grid[1], grid[2]}, DType::f32);
  for (size_t c = 0; c < channels; ++c) {
    const Tensor voxels = onto_lattice(volumes[c], out.geometry);
    if (!voxels) {
      std::string grids;
      for (size_t k = 0; k < channels; ++k) grids += "\n  " + paths[k].string() + ": " + describe(volumes[k].geometry);
      fail(Fault::input, "case ", id,
           ": the sequences lie on different grids; register and resample them to one:", grids);
    }
    if (voxels.data<float>() != volumes[c].voxels.data<float>())
      out.warnings.push_back(sentence(paths[c].string(), ": its axes, ", volumes[c].geometry.axes(), ", are turned to ",
                                      out.geometry.axes(), " as in ", paths[0].string()));
    for (const std::string& w : volumes[c].warnings) out.warnings.push_back(paths[c].string() + ": " + w);
    std::memcpy(out.data.slice(static_cast<int64_t>(c), 1).data<float>(), voxels.data<float>(), voxels.bytes());
    if (c > 0) volumes[c].voxels = {};
  }
  return out;
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
