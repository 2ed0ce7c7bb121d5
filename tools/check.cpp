// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "segmentation/data/dataset.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

bool is_nifti(const Path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".nii.gz") || name.ends_with(".nii");
}

// A data set says so with dataset.json or with labels under BraTS names; anything else is images to predict.
bool is_dataset(const Path& dir) {
  if (std::filesystem::exists(dir / "dataset.json")) return true;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir))
    if (is_nifti(entry.path()) && entry.path().filename().string().find("-seg.") != std::string::npos) return true;
  return false;
}

// The case that a file belongs to by its name: CASE_0000.nii.gz, CASE-t1c.nii.gz.
Path case_of(const Path& path) {
  const std::string stem = path.filename().string();
  return path.parent_path() / stem.substr(0, stem.find_last_of("-_"));
}

std::string sentence_of(const CaseFiles& files, std::vector<std::string>* warnings) {
  try {
    for (const auto& warning : read_case(files).warnings) warnings->push_back(files.id + ": " + warning);
    return "";
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    return e.what();
  }
}

// Files given by name, or found in a folder where no case is complete: each readable, those of a case on one grid.
CheckReport check_files(const std::vector<Path>& paths) {
  std::map<Path, CaseFiles> cases;
  for (const Path& path : paths) {
    CaseFiles& files = cases[paths.size() == 1 ? path : case_of(path)];
    files.id = paths.size() == 1 ? path.filename().string() : case_of(path).filename().string();
    files.images.push_back(path);
  }
  CheckReport report;
  for (const auto& [name, files] : cases) {
    ++report.cases;
    const std::string fault = sentence_of(files, &report.warnings);
    if (!fault.empty()) report.faults.push_back(fault);
  }
  return report;
}

// A folder of images to predict, which has no labels.
CheckReport check_inputs(const Path& dir, bool quiet) {
  CheckReport report;
  const auto cases = find_inputs(dir, brats_description("").channel_names, &report.faults);
  Progress progress("check", "cases", quiet);
  for (const CaseFiles& files : cases) {
    const std::string fault = sentence_of(files, &report.warnings);
    if (!fault.empty()) report.faults.push_back(fault);
    progress.update(++report.cases, static_cast<int64_t>(cases.size()));
  }
  return report;
}

// What can be said of the files of a folder in which nothing is complete.
void add_file_faults(const Path& dir, CheckReport* report) {
  std::vector<Path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir))
    if (entry.is_regular_file() && is_nifti(entry.path())) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  const CheckReport files = check_files(paths);
  report->faults.insert(report->faults.end(), files.faults.begin(), files.faults.end());
  report->warnings.insert(report->warnings.end(), files.warnings.begin(), files.warnings.end());
}

CheckReport check_folder(const Path& dir, bool quiet) {
  try {
    if (is_dataset(dir)) return check_dataset(dir);
    CheckReport report = check_inputs(dir, quiet);
    if (report.cases == 0) add_file_faults(dir, &report);
    return report;
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    CheckReport report;
    report.faults.push_back(e.what());
    if (!std::filesystem::exists(dir / "dataset.json")) add_file_faults(dir, &report);
    return report;
  }
}

int run(CommandLine& line) {
  std::vector<Path> paths;
  line.positional("DIR|FILES", paths,
                  "a raw data set, BraTS-named folders, a folder of inputs, or the files of a case");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  for (const Path& path : paths)
    if (!std::filesystem::exists(path)) fail(Fault::input, "there is no file or folder ", path.string());
  const bool folder = std::filesystem::is_directory(paths[0]);
  if (folder && paths.size() > 1) fail(Fault::usage, "check takes one folder, or files; not both and not two folders");
  const CheckReport report = folder ? check_folder(paths[0], line.values().quiet) : check_files(paths);
  if (line.values().json) {
    print_json({{"cases", report.cases}, {"faults", report.faults}, {"warnings", report.warnings}});
  } else {
    for (const auto& warning : report.warnings) std::printf("warning: %s\n", warning.c_str());
    for (const auto& fault : report.faults) std::printf("fault: %s\n", fault.c_str());
    std::printf("%lld case%s, %zu fault%s, %zu warning%s\n", static_cast<long long>(report.cases),
                report.cases == 1 ? "" : "s", report.faults.size(), report.faults.size() == 1 ? "" : "s",
                report.warnings.size(), report.warnings.size() == 1 ? "" : "s");
  }
  return report.faults.empty() ? 0 : code(Fault::input);
}

const VerbEntry entry{{"check", Stage::data, "verify a data set or inputs and name every fault",
                       "metvox check raw\nmetvox check case-t1c.nii.gz case-t1n.nii.gz case-t2f.nii.gz case-t2w.nii.gz",
                       run}};

}  // namespace
}  // namespace metvox
