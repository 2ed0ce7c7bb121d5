// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/ensemble.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "io/nifti.h"
#include "io/safetensors.h"
#include "segmentation/data/decide.h"
#include "tensor/threads.h"

namespace metvox {

namespace {

namespace fs = std::filesystem;

std::string advice(const Path& folder) {
  return "; predict into " + folder.string() + " again with --save-probabilities --overwrite";
}

// Ids of the cases that have probabilities, or labels, in the folder.
std::set<std::string> ids_with(const Path& dir, const std::string& ending) {
  std::set<std::string> ids;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') || !name.ends_with(ending)) continue;
    ids.insert(name.substr(0, name.size() - ending.size()));
  }
  return ids;
}

// One member's answer for the case, where it lies in its file.
struct Member {
  Path file;
  std::unique_ptr<MappedSafeTensors> mapped;
  const std::byte* data = nullptr;  // f32 (heads, z, y, x), at any address
};

void require_files(const std::string& id, const PredictionFiles& files) {
  const Path folder = files.labels.parent_path();
  const bool labels = fs::exists(files.labels), probabilities = fs::exists(files.probabilities);
  if (!labels && !probabilities)
    fail(Fault::input, "case ", id, ": ", folder.string(),
         " has no prediction of it; predict the same cases with every model");
  if (!labels)
    fail(Fault::input, "case ", id, ": ", files.labels.string(), " is missing, whose grid is needed; predict it again");
  if (!probabilities)
    fail(Fault::input, "case ", id, ": ", files.probabilities.string(), " is missing: labels alone cannot be averaged",
         advice(folder));
}

Member open_member(const std::string& id, const Path& file, const Labels& labels, const Geometry& grid) {
  const SafeTensorsHeader header = read_safetensors_header(file);
  const auto heads = header.metadata.find("heads");
  const std::string expected = head_names(labels);
  if (heads == header.metadata.end() || heads->second != expected)
    fail(Fault::input, "case ", id, ": the heads of ", file.string(), " are ",
         heads == header.metadata.end() ? "not named" : heads->second, ", dataset.json has ", expected);
  const Shape shape{static_cast<int64_t>(labels.heads().size()), grid.shape[2], grid.shape[1], grid.shape[0]};
  const auto spec = header.specs.find("probabilities");
  if (spec == header.specs.end() || spec->second != Spec{shape, DType::f32})
    fail(Fault::input, "case ", id, ": ", file.string(), " is to hold probabilities f32 ", shape, ", it ",
         spec == header.specs.end() ? sentence("holds none")
                                    : sentence("has ", name_of(spec->second.dtype), " ", spec->second.shape));
  Member member{file, std::make_unique<MappedSafeTensors>(file, false), nullptr};
  member.data = static_cast<const std::byte*>(member.mapped->tensors().at("probabilities").data);
  return member;
}

std::vector<Member> open_members(const std::string& id, const std::vector<PredictionFiles>& files, const Labels& labels,
                                 Geometry& grid) {
  for (const PredictionFiles& f : files) require_files(id, f);
  grid = read_nifti_header(files.front().labels).geometry;
  std::vector<Member> members;
  for (const PredictionFiles& f : files) {
    const Geometry other = read_nifti_header(f.labels).geometry;
    if (!same_grid(grid, other))
      fail(Fault::input, "case ", id, ": the members lie on different grids: ", files.front().labels.string(), " has ",
           describe(grid), ", ", f.labels.string(), " has ", describe(other),
           "; predict the same images with every model");
    members.push_back(open_member(id, f.probabilities, labels, grid));
  }
  return members;
}

// The mean over members of `n` voxels from `first` on of one head, summed in their order.
void average(const std::vector<Member>& members, int64_t first, int64_t n, std::vector<float>& one, float* mean) {
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  for (size_t m = 0; m < members.size(); ++m) {
    std::memcpy(one.data(), members[m].data + static_cast<size_t>(first) * sizeof(float), bytes);
    if (m == 0) std::copy_n(one.data(), n, mean);
    else
      for (int64_t i = 0; i < n; ++i) mean[i] += one[static_cast<size_t>(i)];
  }
  const auto count = static_cast<float>(members.size());
  for (int64_t i = 0; i < n; ++i) mean[i] /= count;
}

bool all_probabilities(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float p) { return p >= 0 && p <= 1; });
}

}  // namespace

void ensemble_case(const std::string& id, const std::vector<PredictionFiles>& files, const Labels& labels,
                   const Path& dir, const PredictOptions& options) {
  Geometry grid;
  const std::vector<Member> members = open_members(id, files, labels, grid);
  const auto heads = static_cast<int64_t>(labels.heads().size());
  const Shape shape{grid.shape[2], grid.shape[1], grid.shape[0]};
  const int64_t area = shape[1] * shape[2];
  const Tensor voxels = Tensor::empty(shape, DType::u8);
  Tensor kept;
  if (options.probabilities) kept = Tensor::empty({heads, shape[0], shape[1], shape[2]}, DType::f32);
  const LabelDecision decide(labels, 0.5f);
  std::vector<char> sound(static_cast<size_t>(shape[0]));
  parallel_for(shape[0], 1, [&](int64_t first, int64_t last) {
    std::vector<float> one(static_cast<size_t>(area)), plane(static_cast<size_t>(heads * area));
    std::vector<const float*> rows;
    for (int64_t h = 0; h < heads; ++h) rows.push_back(plane.data() + h * area);
    for (int64_t z = first; z < last; ++z) {
      for (int64_t h = 0; h < heads; ++h) {
        average(members, (h * shape[0] + z) * area, area, one, plane.data() + h * area);
        if (kept) std::copy_n(plane.data() + h * area, area, kept.data<float>() + (h * shape[0] + z) * area);
      }
      sound[static_cast<size_t>(z)] = all_probabilities(plane);
      decide(rows.data(), area, voxels.data<uint8_t>() + z * area);
    }
  });
  if (std::find(sound.begin(), sound.end(), 0) != sound.end())
    fail(Fault::input, "case ", id, ": the members' mean is no probability in every voxel; a file is damaged, such as ",
         members.front().file.string(), "; predict the case again");
  if (kept) write_probabilities(dir, id, kept, labels);
  write_segmentation(dir, id, voxels, grid, labels, options.note);
}

DatasetDescription ensemble_description(const std::vector<Path>& members) {
  for (const Path& dir : members) {
    require_folder(dir);
    if (!fs::exists(dir / "dataset.json"))
      fail(Fault::input, dir.string(), ": holds no dataset.json, so it is no folder that `metvox predict` wrote");
  }
  const DatasetDescription first = read_description(members.front() / "dataset.json");
  for (const Path& dir : members) {
    if (read_description(dir / "dataset.json").labels != first.labels)
      fail(Fault::input, (dir / "dataset.json").string(), " and ", (members.front() / "dataset.json").string(),
           " have different labels; only models of the same labels can be averaged");
    if (ids_with(dir, "_probabilities.safetensors").empty())
      fail(Fault::input, dir.string(), ": holds no CASE_probabilities.safetensors: labels alone cannot be averaged",
           advice(dir));
  }
  return first;
}

Predictions ensemble_folders(const std::vector<Path>& members, const Path& dir, const PredictOptions& options,
                             const CaseProgress& progress) {
  const DatasetDescription description = ensemble_description(members);
  std::set<std::string> ids;
  for (const Path& member : members)
    for (const char* ending : {"_probabilities.safetensors", ".nii.gz"}) ids.merge(ids_with(member, ending));
  make_folder(dir);
  write_json(dir / "dataset.json", description.json);
  if (fs::exists(members.front() / "plans.json"))
    write_json(dir / "plans.json", read_json(members.front() / "plans.json"));
  const std::vector<std::string> list(ids.begin(), ids.end());
  return write_cases(list, progress, [&](int64_t i) {
    const std::string& id = list[static_cast<size_t>(i)];
    if (!options.overwrite && finished(prediction_files(dir, id), options.probabilities)) return false;
    std::vector<PredictionFiles> files;
    for (const Path& member : members) files.push_back(prediction_files(member, id));
    ensemble_case(id, files, description.labels, dir, options);
    return true;
  });
}

}  // namespace metvox
