// SPDX-License-Identifier: Apache-2.0
#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/case_files.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/evaluation/viewer_files.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

int run(CommandLine& line) {
  Path labels_dir, out;
  line.positional("DIR", labels_dir, "segmentations: predictions of `metvox predict`, or truths");
  line.option("out,o", out, "DIR",
              "folder for CASE.nii.gz (names and colours in its header), CASE.seg.nrrd (regions that overlap), "
              "CASE_instances.nii.gz (a number a lesion), labels.ctbl, labels.txt, labels-niivue.json",
              Need::required);
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  require_folder(labels_dir);
  if (std::filesystem::exists(out) && std::filesystem::equivalent(out, labels_dir))
    fail(Fault::usage, "--out is the folder of the segmentations, ", out.string(), "; name another one");
  std::string note;
  const Labels labels = find_label_names(labels_dir, labels_dir, &note);
  if (!note.empty()) line.say("note: ", note);
  const auto cases = find_label_files(image_files(labels_dir));
  if (cases.empty())
    fail(Fault::input, "no segmentation in ", labels_dir.string(), "; expected CASE.nii.gz or CASE-seg.nii.gz");
  make_folder(out);
  write_colour_tables(viewer_labels(labels), out);
  Progress progress("view", "cases", line.values().quiet);
  std::vector<std::string> faults;
  int64_t done = 0, written = 0, lesions = 0;
  for (const auto& [id, paths] : cases) {
    const auto fault = try_case(id, [&, &sample = id, &files = paths] {
      if (files.size() > 1)
        fail(Fault::input, sample, ": the label is there more than once: ", files[0].string(), ", ", files[1].string(),
             "; keep one");
      const Volume volume = read_nifti_labels(files[0]);
      lesions += write_viewer_files(sample, volume.voxels, volume.geometry, labels, out).lesions;
      ++written;
    });
    if (fault) {
      faults.push_back(fault->text);
      progress.line("metvox view: " + fault->text);
    }
    progress.update(++done, static_cast<int64_t>(cases.size()));
  }
  if (line.values().json)
    print_json({{"out", out.string()}, {"written", written}, {"lesions", lesions}, {"faults", faults}});
  else
    line.say(counted(written, "case"), " with ", counted(lesions, "lesion"), written == 1 ? " is in " : " are in ",
             out.string());
  return faults.empty() ? 0 : code(written ? Fault::partial : Fault::input);
}

const VerbEntry entry{{"view", Stage::results, "segmentations for 3D Slicer, ITK-SNAP and niivue",
                       "metvox view predictions --out viewers", run}};

}  // namespace
}  // namespace metvox
