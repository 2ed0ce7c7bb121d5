// SPDX-License-Identifier: Apache-2.0
// What `metvox check` looks at. A fault never keeps the next file from being looked at.
#include <algorithm>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "segmentation/data/dataset.h"

namespace metvox {
namespace {

// Runs f; an Error becomes a fault.
template <class F>
bool guarded(CheckReport& report, F&& f) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    if (e.fault() == Fault::internal) throw;
    report.faults.push_back(e.what());
    return false;
  }
}

std::string named(const std::string& id, const std::string& text) {
  return text.starts_with("case ") ? text : "case " + id + ": " + text;
}

// Reads one image; what is wrong with its voxels goes into the report.
Volume checked_volume(const std::string& id, const Path& path, CheckReport& report) {
  Volume v = read_nifti(path, NonFinite::keep);
  const float* x = v.voxels.data<float>();
  const auto bad = std::count_if(x, x + v.voxels.size(), [](float value) { return !std::isfinite(value); });
  if (bad > 0) {
    v.warnings.pop_back();  // says the same, as the last of the reader's
    report.faults.push_back(
        named(id, sentence(path.string(), ": ", bad, " of ", v.voxels.size(), " voxels are not finite")));
  } else if (const auto [low, high] = std::minmax_element(x, x + v.voxels.size()); *low == *high) {
    report.warnings.push_back(named(id, sentence(path.string(), ": every voxel is ", *low)));
  }
  return v;
}

// Images of one case on one grid; nothing when they are not.
std::optional<CaseImages> checked_images(const std::string& id, const std::vector<Path>& paths, CheckReport& report) {
  std::vector<Volume> volumes;
  for (const Path& path : paths)
    guarded(report, [&] {
      try {
        volumes.push_back(checked_volume(id, path, report));
      } catch (const Error& e) {
        throw Error(e.fault(), named(id, e.what()));
      }
    });
  if (volumes.size() < paths.size()) return {};
  std::optional<CaseImages> images;
  guarded(report, [&] {
    images = join_sequences(id, paths, std::move(volumes));
    for (const std::string& w : images->warnings) report.warnings.push_back(named(id, w));
  });
  return images;
}

void check_labels(const CaseFiles& files, const Geometry& grid, const Labels& labels, std::array<int64_t, 256>& seen,
                  CheckReport& report) {
  guarded(report, [&] {
    try {
      const Tensor voxels = read_case_labels(files, grid, labels);
      bool empty = true;
      for (int64_t i = 0; i < voxels.size(); ++i) {
        const uint8_t label = voxels.data<uint8_t>()[i];
        ++seen[label];
        empty &= label == 0;
      }
      if (empty) report.warnings.push_back(named(files.id, files.label.string() + ": no voxel is labelled"));
    } catch (const Error& e) {
      throw Error(e.fault(), named(files.id, e.what()));
    }
  });
}

}  // namespace

CheckReport check_dataset(const Path& dir) {
  CheckReport report;
  RawDataset dataset;
  if (!guarded(report, [&] { dataset = open_raw_dataset(dir, &report.faults); })) return report;
  report.cases = static_cast<int64_t>(dataset.training.size());
  if (report.cases != dataset.description.num_training)
    report.faults.push_back(sentence((dir / "dataset.json").string(), ": numTraining is ",
                                     dataset.description.num_training, ", but ", report.cases,
                                     " complete cases are there"));
  std::array<int64_t, 256> seen{};
  for (const CaseFiles& files : dataset.training)
    if (const auto images = checked_images(files.id, files.images, report))
      check_labels(files, images->geometry, dataset.description.labels, seen, report);
  for (const LabelTarget& t : dataset.description.labels.foreground())
    if (std::all_of(t.labels.begin(), t.labels.end(), [&](int v) { return seen[static_cast<size_t>(v)] == 0; }))
      report.warnings.push_back(sentence(dir.string(), ": ", t.name, " is in no readable case"));
  return report;
}

CheckReport check_files(const std::vector<Path>& paths) {
  CheckReport report;
  std::map<std::string, std::vector<Path>> groups;
  for (const Path& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      const ImageFile file = image_file(path);
      groups[(path.parent_path() / group_of(file)).string()].push_back(path);
      continue;
    }
    const std::vector<ImageFile> files = image_files(path);
    if (files.empty()) report.faults.push_back(path.string() + ": there is no image (.nii.gz, .nii, .hdr)");
    for (const ImageFile& file : files)
      groups[(file.path.parent_path() / group_of(file)).string()].push_back(file.path);
  }
  for (const auto& [name, files] : groups) checked_images(Path(name).filename().string(), files, report);
  report.cases = static_cast<int64_t>(groups.size());
  return report;
}

}  // namespace metvox
