// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/check.h"

#include <algorithm>
#include <map>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/case_files.h"

namespace metvox {
namespace {

// Looks at one case after the other and counts the labels that it meets.
class Checker {
 public:
  Checker(CheckReport& report, Labels labels) : report_(report), labels_(std::move(labels)) {}

  // incomplete: a sequence is missing or there twice, so that the others need not fit together.
  void look_at(const CaseFiles& files, bool incomplete) {
    std::vector<Volume> volumes;
    std::vector<Path> readable;
    std::vector<std::string> warnings;  // each file's own
    for (const Path& path : files.images)
      guarded(files.id, [&] {
        volumes.push_back(read_sequence(path));
        readable.push_back(path);
        for (const std::string& w : volumes.back().warnings) warnings.push_back(path.string() + ": " + w);
      });
    std::optional<CaseImages> images;
    if (!incomplete && !volumes.empty())
      guarded(files.id, [&] { images = join_sequences(files.id, readable, std::move(volumes)); });
    warn(files.id, images ? images->warnings : warnings);
    if (!files.label.empty()) guarded(files.id, [&] { look_at_label(files, images); });
  }

  bool has_seen(const LabelTarget& target) const {
    return std::any_of(target.labels.begin(), target.labels.end(),
                       [&](int value) { return seen_[static_cast<size_t>(value)]; });
  }

 private:
  template <class F>
  void guarded(const std::string& id, F&& f) {
    if (const auto fault = try_case(id, f)) report_.faults.push_back(fault->text);
  }
  void warn(const std::string& id, const std::vector<std::string>& warnings) {
    for (const std::string& w : warnings) report_.warnings.push_back(named_case(id, w));
  }
  void look_at_label(const CaseFiles& files, const std::optional<CaseImages>& images) {
    Tensor voxels;
    if (images) {
      voxels = read_case_labels(files, images->geometry, labels_);
    } else {
      voxels = read_nifti_labels(files.label).voxels;
      require_known_labels(voxels, labels_, files.id, files.label);
    }
    const uint8_t* x = voxels.data<uint8_t>();
    for (int64_t i = 0; i < voxels.size(); ++i) seen_[x[i]] = true;
    if (std::all_of(x, x + voxels.size(), [](uint8_t label) { return label == 0; }))
      warn(files.id, {files.label.string() + ": no voxel is labelled"});
  }

  CheckReport& report_;
  Labels labels_;
  std::array<bool, 256> seen_{};
};

void look_at_all(Checker& checker, const std::vector<CaseFiles>& complete, const std::vector<CaseFiles>& incomplete,
                 CheckReport& report, const CheckProgress& progress) {
  const auto total = static_cast<int64_t>(complete.size() + incomplete.size());
  for (const auto* cases : {&complete, &incomplete})
    for (const CaseFiles& files : *cases) {
      checker.look_at(files, cases == &incomplete);
      ++report.cases;
      if (progress) progress(report.cases, total);
    }
}

// Files by the case that their names tell.
std::vector<CaseFiles> grouped(const std::vector<ImageFile>& files) {
  std::map<Path, CaseFiles> groups;
  for (const ImageFile& file : files) {
    const std::string id = group_of(file);
    CaseFiles& c = groups[file.path.parent_path() / id];
    c.id = id;
    if (case_of(file, "seg").empty() || !c.label.empty()) c.images.push_back(file.path);
    else c.label = file.path;
  }
  std::vector<CaseFiles> cases;
  for (auto& [name, c] : groups) cases.push_back(std::move(c));
  return cases;
}

// Images beside the cases that no case takes: a misspelt name is easily overlooked.
void warn_of_strays(const Path& dir, const std::vector<ImageFile>& files, const FoundInputs& found,
                    CheckReport& report) {
  std::vector<Path> taken, strays;
  for (const auto* cases : {&found.complete, &found.incomplete})
    for (const CaseFiles& c : *cases) taken.insert(taken.end(), c.images.begin(), c.images.end());
  for (const ImageFile& file : files)
    if (std::find(taken.begin(), taken.end(), file.path) == taken.end()) strays.push_back(file.path);
  if (strays.empty()) return;
  report.warnings.push_back(sentence(dir.string(), ": ", counted(static_cast<int64_t>(strays.size()), "image"),
                                     strays.size() == 1 ? " has" : " have", " no sequence's name and ",
                                     strays.size() == 1 ? "is" : "are", " not predicted, such as ",
                                     strays.front().string()));
}

CheckReport check_folder(const Path& dir, const CheckProgress& progress) {
  CheckReport report;
  const std::vector<ImageFile> files = image_files(dir);
  if (files.empty()) fail(Fault::input, dir.string(), ": there is no image (.nii.gz, .nii, .hdr) in this folder");
  const DatasetDescription brats = brats_description("");
  Checker checker(report, brats.labels);
  const FoundInputs found = look_through_inputs(dir, brats.channel_names, &report.faults);
  if (found.complete.empty() && found.incomplete.empty()) {
    look_at_all(checker, grouped(files), {}, report, progress);
    return report;
  }
  look_at_all(checker, found.complete, found.incomplete, report, progress);
  warn_of_strays(dir, files, found, report);
  return report;
}

// Names among known ones that no file's name can match: BraTS-named inputs of such a model are not found.
void warn_of_channel_names(const Path& dir, const std::vector<std::string>& names, CheckReport& report) {
  std::map<std::string, int> uses;
  for (const std::string& name : names) ++uses[sequence_key(name)];
  const auto is_known = [](const std::string& name) { return sequence_names(name).size() > 1; };
  const bool any_known = std::any_of(names.begin(), names.end(), is_known);
  for (size_t c = 0; c < names.size(); ++c)
    if (any_known && (!is_known(names[c]) || uses[sequence_key(names[c])] > 1))
      report.warnings.push_back(sentence((dir / "dataset.json").string(), ": channel ", c, " is called ", names[c],
                                         is_known(names[c]) ? ", as another is" : ", which is no sequence's name",
                                         "; its files are found as CASE_", std::to_string(10000 + c).substr(1),
                                         " only, not by names such as ", "CASE-t1c, -t1n, -t2f, -t2w"));
}

}  // namespace

bool is_dataset(const Path& dir) {
  if (std::filesystem::exists(dir / "dataset.json") || std::filesystem::exists(dir / "imagesTr")) return true;
  const std::vector<ImageFile> files = image_files(dir);
  return std::any_of(files.begin(), files.end(), [](const ImageFile& file) { return !case_of(file, "seg").empty(); });
}

CheckReport check_dataset(const Path& dir, const CheckProgress& progress) {
  CheckReport report;
  const RawDataset dataset = look_through_dataset(dir, &report.faults);
  warn_of_channel_names(dir, dataset.description.channel_names, report);
  const auto complete = static_cast<int64_t>(dataset.training.size());
  if (complete != dataset.description.num_training)
    report.faults.push_back(sentence((dir / "dataset.json").string(), ": numTraining is ",
                                     dataset.description.num_training, ", but there ", complete == 1 ? "is " : "are ",
                                     counted(complete, "complete case"), "; mend the number"));
  Checker checker(report, dataset.description.labels);
  look_at_all(checker, dataset.training, dataset.incomplete, report, progress);
  for (const LabelTarget& t : dataset.description.labels.foreground())
    if (!checker.has_seen(t))
      report.warnings.push_back(sentence(dir.string(), ": ", t.name, " is in no readable case"));
  return report;
}

CheckReport check_inputs(const std::vector<Path>& paths, const CheckProgress& progress) {
  if (paths.size() == 1 && std::filesystem::is_directory(paths[0])) return check_folder(paths[0], progress);
  CheckReport report;
  std::vector<ImageFile> files;
  for (const Path& path : paths) files.push_back(image_file(path));
  Checker checker(report, brats_description("").labels);
  look_at_all(checker, grouped(files), {}, report, progress);
  return report;
}

}  // namespace metvox
