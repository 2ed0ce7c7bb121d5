// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/cases.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "segmentation/data/system_memory.h"
#include "tensor/error.h"

namespace metvox {
namespace {

Path file_of(const Path& folder, const std::string& id) { return folder / (id + ".safetensors"); }

size_t previous_bytes(const Path& path, const std::string& id) {
  if (!std::filesystem::exists(path))
    fail(Fault::input, path.string(), " is missing: what the previous stage says of case ", id,
         "; train the previous stage first, with the same --network and --loss: each of its folds writes the cases "
         "that it validates");
  return std::filesystem::file_size(path);
}

View tensor_of(const MappedSafeTensors& file, const char* name, DType dtype, int rank, const Path& path) {
  const auto at = file.tensors().find(name);
  if (at == file.tensors().end())
    fail(Fault::input, path.string(), ": has no tensor \"", name,
         "\", so it cannot be trained on; run `metvox preprocess` again");
  if (at->second.dtype != dtype || at->second.shape.rank() != rank)
    fail(Fault::input, path.string(), ": the tensor \"", name, "\" is ", name_of(at->second.dtype), ' ',
         at->second.shape, ", expected ", name_of(dtype), " of rank ", rank);
  return at->second;
}

TrainingCase case_of(const MappedSafeTensors& file, const std::string& id, int64_t channels, const Path& path) {
  TrainingCase c;
  c.id = id;
  const View data = tensor_of(file, "data", DType::f32, 4, path), seg = tensor_of(file, "seg", DType::i8, 3, path);
  c.extent = {data.shape[1], data.shape[2], data.shape[3]};
  if (data.shape[0] != channels || seg.shape != Shape({c.extent[0], c.extent[1], c.extent[2]}) || volume(c.extent) == 0)
    fail(Fault::input, path.string(), ": data ", data.shape, " and seg ", seg.shape,
         " do not fit together, or not the ", channels, " channels of the data set");
  if (reinterpret_cast<uintptr_t>(data.data) % alignof(float) != 0)
    fail(Fault::input, path.string(), ": \"data\" does not lie aligned in the file; run `metvox preprocess` again");
  c.data = data.as<float>();
  c.seg = seg.as<int8_t>();
  for (const auto& [name, view] : file.tensors()) {
    if (name.rfind("locations_", 0) != 0 || view.size() == 0) continue;
    if (view.dtype != DType::i32 || view.shape.rank() != 2 || view.shape[1] != 3)
      fail(Fault::input, path.string(), ": \"", name, "\" is not a list of voxels");
    c.locations.push_back(view);
    for (int64_t i = 0; i < view.shape[0]; ++i) {
      const Int3 at = c.location(c.locations.size() - 1, i);
      for (size_t a = 0; a < 3; ++a)
        if (at[a] < 0 || at[a] >= c.extent[a])
          fail(Fault::input, path.string(), ": \"", name, "\" names a voxel outside the case");
    }
  }
  return c;
}

}  // namespace

Int3 TrainingCase::location(size_t target, int64_t i) const {
  int32_t at[3];
  std::memcpy(at, static_cast<const std::byte*>(locations[target].data) + static_cast<size_t>(i) * sizeof at,
              sizeof at);
  return {at[0], at[1], at[2]};
}

std::vector<std::string> preprocessed_ids(const Path& folder) {
  std::vector<std::string> ids;
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors") ids.push_back(entry.path().stem().string());
  if (ids.empty())
    fail(Fault::input, folder.string(),
         ": holds no preprocessed case; run `metvox preprocess` with this plan and configuration first");
  std::sort(ids.begin(), ids.end());
  return ids;
}

TrainingCases::TrainingCases(const Path& folder, const std::vector<std::string>& ids, int64_t channels,
                             const Path& previous, bool resident) {
  const std::set<std::string> once(ids.begin(), ids.end());
  for (const std::string& id : once) {
    const size_t bytes = std::filesystem::file_size(file_of(folder, id)) +
                         (previous.empty() ? 0 : previous_bytes(file_of(previous, id), id));
    bytes_ += bytes;
    largest_bytes_ = std::max(largest_bytes_, bytes);
  }
  resident_ = resident && bytes_ <= system_memory().total / 2;
  for (const std::string& id : once) {
    const Path path = file_of(folder, id);
    files_.push_back(std::make_unique<MappedSafeTensors>(path, resident_));
    cases_.push_back(case_of(*files_.back(), id, channels, path));
    if (!previous.empty()) add_previous(file_of(previous, id), cases_.back());
    if (!resident_) give_back(cases_.back().data);  // whose locations have been looked at
  }
}

void TrainingCases::give_back(const float* data) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto found = std::find_if(cases_.begin(), cases_.end(), [&](const TrainingCase& c) { return c.data == data; });
  check(found != cases_.end(), "TrainingCases: no case's data");
  const size_t files = files_.size() / cases_.size(), first_file = static_cast<size_t>(found - cases_.begin()) * files;
  for (size_t k = first_file; k < first_file + files; ++k)
    for (const auto& [name, view] : files_[k]->tensors()) {
      const auto first = reinterpret_cast<uintptr_t>(view.data) / page * page;
      madvise(reinterpret_cast<void*>(first), reinterpret_cast<uintptr_t>(view.data) + view.bytes() - first,
              MADV_DONTNEED);
    }
}

void TrainingCases::add_previous(const Path& path, TrainingCase& c) {
  files_.push_back(std::make_unique<MappedSafeTensors>(path, resident_));
  const View seg = tensor_of(*files_.back(), "seg", DType::i8, 3, path);
  if (seg.shape != Shape{c.extent[0], c.extent[1], c.extent[2]})
    fail(Fault::input, path.string(), ": seg is ", seg.shape, ", but case ", c.id, " is ", Shape(c.extent),
         "; it belongs to another plan: train the previous stage again");
  c.previous = seg.as<int8_t>();
}

std::vector<const TrainingCase*> TrainingCases::find(const std::vector<std::string>& ids) const {
  std::vector<const TrainingCase*> out;
  for (const std::string& id : ids)
    out.push_back(&*std::find_if(cases_.begin(), cases_.end(), [&](const TrainingCase& c) { return c.id == id; }));
  return out;
}

}  // namespace metvox
