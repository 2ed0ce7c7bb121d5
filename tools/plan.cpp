// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/plans.h"

#include "segmentation/data/case_fault.h"
#include "segmentation/data/system_memory.h"
#include "tools/cli.h"

namespace metvox {
namespace {

struct Request {
  Path raw, out, like;
  PlannerOptions planner;
};

void declare(CommandLine& line, Request& r) {
  line.positional("RAW", r.raw, "raw data set: dataset.json + imagesTr/ + labelsTr/, or BraTS-named folders");
  line.option("out,o", r.out, "PREPROCESSED",
              "folder to write plans.json, dataset.json and dataset_fingerprint.json to", Need::required);
  line.option("like", r.like, "PLANS.json", "take the plans of another data set (nnU-Net's move-plans)");
  line.option("gpu-memory-gb", r.planner.gpu_memory_gb, "GB",
              "GPU memory that training may fill; 0: what the preset is meant for, 8 for `default`");
  line.choice("preset", r.planner.preset, {"default", "resenc-m", "resenc-l", "resenc-xl"},
              "which of nnU-Net's planners to follow");
  line.option("base-features", r.planner.base_features, "N",
              "features of the network's first stage; the next ones double them");
  line.option("patch-size", r.planner.patch_size, "Z Y X",
              "patch of 3d_fullres in voxels, instead of the planned one; the strides follow from it");
  line.option("batch-size", r.planner.batch_size, "N", "patches a training step; 0: as planned");
  line.common({Common::seed, Common::threads, Common::json, Common::quiet, Common::dry_run});
}

void refuse_nonsense(const CommandLine& line, const Request& r) {
  for (const char* name : {"gpu-memory-gb", "preset", "base-features", "patch-size", "batch-size"})
    if (!r.like.empty() && line.given(name))
      fail(Fault::usage, "--like takes the plans as they are; leave out --", name);
  if (!(r.planner.gpu_memory_gb >= 0)) fail(Fault::usage, "--gpu-memory-gb: ", r.planner.gpu_memory_gb, " is below 0");
  if (r.planner.base_features < 1) fail(Fault::usage, "--base-features: ", r.planner.base_features, " is below 1");
  if (r.planner.batch_size < 0) fail(Fault::usage, "--batch-size: ", r.planner.batch_size, " is below 0");
  if (r.planner.patch_size)
    for (int64_t extent : *r.planner.patch_size)
      if (extent < 1) fail(Fault::usage, "--patch-size: ", extent, " is below 1");
}

Json summary(const Plans& plans, const Path& out, size_t cases, bool written) {
  Json configurations = Json::object();
  for (const Configuration& c : plans.configurations)
    configurations[c.name] = {{"patch_size", c.patch_size},
                              {"batch_size", c.batch_size},
                              {"spacing_mm", c.spacing_mm},
                              {"median_image_size", c.median_image_size},
                              {"features_per_stage", c.architecture.features_per_stage}};
  return {{"plans", (out / "plans.json").string()},
          {"cases", cases},
          {"written", written},
          {"configurations", configurations}};
}

template <class T>
std::string joined(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += sentence(text.empty() ? "" : " ", value);
  return text;
}

int run(CommandLine& line) {
  Request r;
  declare(line, r);
  if (!line.parse()) return 0;
  refuse_nonsense(line, r);
  give_back_what_is_freed();
  std::vector<std::string> faults;
  const RawDataset dataset = open_raw_dataset(r.raw, &faults);
  for (const auto& fault : faults) line.warn(fault);
  const bool write = !line.values().dry_run;
  if (write) {  // a folder that takes no files is told before minutes of reading
    make_folder(r.out);
    const AtomicFile probe(r.out / "plans.json");
  }
  line.say("reading ", counted(static_cast<int64_t>(dataset.training.size()), "case"), " of ",
           dataset.description.name);
  std::vector<std::string> unreadable;
  const Fingerprint fingerprint = make_fingerprint(dataset, line.values().seed, &unreadable);
  for (const auto& fault : unreadable) line.warn(fault);
  faults.insert(faults.end(), unreadable.begin(), unreadable.end());
  const Plans plans = r.like.empty() ? make_plans(fingerprint, dataset.description, r.planner)
                                     : move_plans(read_plans(r.like), dataset.description);
  if (write) {
    write_json(r.out / "dataset.json", dataset.description.json);
    write_json(r.out / "dataset_fingerprint.json", to_json(fingerprint));
    write_json(r.out / "plans.json", to_json(plans));
  }
  if (line.values().json) {
    print_json(summary(plans, r.out, dataset.training.size() - unreadable.size(), write));
  } else {
    for (const Configuration& c : plans.configurations)
      std::printf("%s: patch %s, batch %d, spacing %s mm, median image %s voxels, features %s\n", c.name.c_str(),
                  joined(c.patch_size).c_str(), c.batch_size, joined(c.spacing_mm).c_str(),
                  joined(c.median_image_size).c_str(), joined(c.architecture.features_per_stage).c_str());
    std::printf("%s%s\n", (r.out / "plans.json").c_str(), write ? "" : " (not written)");
  }
  return faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{
    {"plan", Stage::data, "choose spacing, patch, batch and network for a data set",
     "metvox plan raw --out preprocessed\nmetvox plan raw --out preprocessed --base-features 8 --patch-size 48 48 48",
     run}};

}  // namespace
}  // namespace metvox
