// SPDX-License-Identifier: Apache-2.0
// A cohort of phantoms on disk. A case's rows in lesions.csv are written before its label file, and the label file last
// of all, so that a case with all its files is whole.
#include <algorithm>

#include "io/csv.h"
#include "io/json.h"
#include "io/nifti.h"
#include "segmentation/data/case_files.h"
#include "segmentation/data/dataset.h"
#include "segmentation/phantom/phantom.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

struct CasePaths {
  std::string id;
  std::array<Path, 4> images;
  Path label;
};

CasePaths case_paths(const Path& dir, const std::string& layout, int64_t index) {
  CasePaths paths;
  if (layout == "nnunet") {
    paths.id = phantom_id(index);
    for (size_t s = 0; s < 4; ++s) paths.images[s] = dir / "imagesTr" / (paths.id + channel_suffix(s) + ".nii.gz");
    paths.label = dir / "labelsTr" / (paths.id + ".nii.gz");
  } else {
    paths.id = "BraTS-MET-" + std::to_string(90001 + index) + "-000";
    const char* names[4] = {"t1c", "t1n", "t2f", "t2w"};
    for (size_t s = 0; s < 4; ++s) paths.images[s] = dir / paths.id / (paths.id + "-" + names[s] + ".nii.gz");
    paths.label = dir / paths.id / (paths.id + "-seg.nii.gz");
  }
  return paths;
}

bool exists_whole(const CasePaths& paths) {
  const auto exists = [](const Path& p) { return std::filesystem::exists(p); };
  return std::all_of(paths.images.begin(), paths.images.end(), exists) && exists(paths.label);
}

CsvTable lesion_table(const Path& path) {
  const CsvTable empty{
      {"case", "id", "x_mm", "y_mm", "z_mm", "radius_mm", "volume_mm3", "netc_mm3", "snfh_mm3", "et_mm3"}, {}};
  if (!std::filesystem::exists(path)) return empty;
  CsvTable found = read_csv(path);
  if (found.columns != empty.columns)
    fail(Fault::input, path.string(),
         ": the columns are not those of a phantom's lesion table; remove the file, and the cases "
         "are made again");
  return found;
}

void replace_rows(CsvTable& table, const std::string& id, const std::vector<PhantomLesion>& lesions) {
  std::erase_if(table.rows, [&](const std::vector<std::string>& row) { return row.at(0) == id; });
  for (const PhantomLesion& l : lesions) {
    std::vector<std::string> row{id, std::to_string(l.id)};
    for (double c : l.centre_mm) row.push_back(csv_number(c));
    row.push_back(csv_number(l.radius_mm));
    for (double v : l.volume_mm3) row.push_back(csv_number(v));
    table.rows.push_back(std::move(row));
  }
}

void write_case(const Path& table_path, CsvTable& table, const CasePaths& paths, const PhantomCase& made) {
  make_folder(paths.images[0].parent_path());
  make_folder(paths.label.parent_path());
  std::filesystem::remove(paths.label);
  const std::string source = "synthetic: metvox phantom";
  parallel_for(4, 1, [&](int64_t first, int64_t last) {
    for (auto s = static_cast<size_t>(first); s < static_cast<size_t>(last); ++s)
      write_nifti(paths.images[s], made.sequences[s], made.geometry, {0, source});
  });
  replace_rows(table, paths.id, made.lesions);
  write_csv(table_path, table);
  write_nifti(paths.label, made.labels, made.geometry, {kIntentLabel, source});
}

// All that decides the voxels, and the layout; not the number of cases, which may grow.
Json description(const PhantomOptions& options, const std::string& layout) {
  Json maps = Json::array();
  for (const Path& p : options.label_maps) maps.push_back(p.filename().string());
  return {{"generator", "metvox phantom"},
          {"version", METVOX_VERSION},
          {"seed", options.seed},
          {"domain", options.domain},
          {"size", options.size},
          {"anatomy", options.label_maps.empty() ? "analytic" : "label maps"},
          {"label_maps", maps},
          {"layout", layout}};
}

void write_description(const Path& path, const Json& wanted) {
  if (std::filesystem::exists(path)) {
    const Json found = read_json(path);
    for (const auto& [key, value] : wanted.items())
      if (!found.is_object() || !found.contains(key) || found[key] != value)
        fail(Fault::usage, path.string(), " says that the phantoms here were made with another ", key, " (",
             found.is_object() && found.contains(key) ? found[key].dump() : "none", ", now ", value.dump(),
             "); write to another folder, or remove this one first");
    return;
  }
  write_json(path, wanted);
}

Json dataset_json(int64_t cases) {
  Json json = brats_description("").json;
  json["numTraining"] = cases;
  return json;
}

}  // namespace

void write_phantoms(const Path& dir, const PhantomOptions& options, const std::string& layout,
                    const std::function<void(int64_t, int64_t)>& progress) {
  if (layout != "nnunet" && layout != "brats")
    fail(Fault::usage, "phantom: the layout is nnunet or brats, not \"", layout, "\"");
  if (options.cases < 1) fail(Fault::usage, "phantom: ", options.cases, " cases; at least 1 is needed");
  make_folder(dir);
  write_description(dir / "phantom.json", description(options, layout));
  const Path table_path = dir / "lesions.csv";
  const bool resumed = std::filesystem::exists(table_path);
  CsvTable table = lesion_table(table_path);
  for (int64_t index = 0; index < options.cases; ++index) {
    const CasePaths paths = case_paths(dir, layout, index);
    if (!resumed || !exists_whole(paths)) write_case(table_path, table, paths, make_phantom(options, index));
    if (progress) progress(index + 1, options.cases);
  }
  if (layout == "nnunet") write_json(dir / "dataset.json", dataset_json(options.cases));
}

}  // namespace metvox
