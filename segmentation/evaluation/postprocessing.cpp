// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/postprocessing.h"

#include <algorithm>

#include "segmentation/evaluation/components.h"

namespace metvox {

namespace {

const char* const kKeepLargest = "remove_all_but_largest_component_from_segmentation";
const char* const kRemoveSmall = "remove_components_below_volume";

std::string list_of(const std::vector<int>& labels) {
  std::string text;
  for (int label : labels) text += (text.empty() ? "" : ", ") + std::to_string(label);
  return (labels.size() > 1 ? "labels " : "label ") + text;
}

// A label, a region, or a list of both: in the end a set of labels.
void collect_labels(const Json& value, const Path& where, std::vector<int>& labels) {
  if (value.is_array())
    for (const Json& v : value) collect_labels(v, where, labels);
  else if (value.is_number_integer() && value > 0 && value < 256) labels.push_back(value.get<int>());
  else
    fail(Fault::input, where.string(), ": labels_or_regions holds ", value.dump(),
         "; labels are integers from 1 to 255");
}

double least_voxels(const PostprocessingRule& rule, const Components& found, const Geometry& grid) {
  if (rule.least_volume_mm3 > 0) {
    const auto& mm = grid.spacing_mm;
    return rule.least_volume_mm3 / (mm[0] * mm[1] * mm[2]);
  }
  int64_t most = 0;
  for (const Component& c : found.components) most = std::max(most, c.voxels);
  return static_cast<double>(most);
}

double mean_dice(const Json& summary, const LabelTarget& target) {
  return summary.at("mean").at(summary_key(target)).at("Dice").get<double>();
}

double foreground_dice(const Json& summary) { return summary.at("foreground_mean").at("Dice").get<double>(); }

// The predictions of a cross-validation, measured as often as there are rules to try.
class Trials {
 public:
  Trials(const Path& prediction_dir, const Path& truth_dir, const Labels& labels, Determined& out) : labels_(labels) {
    std::vector<std::string> without_truth;
    pairs_ = pair_files(prediction_dir, truth_dir, without_truth, out.unused);
    std::string all;
    for (const std::string& fault : without_truth) all += "\n  " + fault;
    if (!without_truth.empty() || pairs_.empty())
      fail(Fault::input, "the predictions in ", prediction_dir.string(), " cannot all be compared with the truths in ",
           truth_dir.string(), without_truth.empty() ? ": there is none" : all);
  }

  Json summary(const std::vector<PostprocessingRule>& rules) const {
    std::vector<SummaryCase> cases;
    for (const LabelFiles& files : pairs_) {
      const LabelVolumes volumes = read_pair(files, labels_);
      postprocess(volumes.prediction, volumes.grid, rules);
      cases.push_back(summarize(files, volumes, labels_));
    }
    return summary_json(labels_, cases);
  }

 private:
  const Labels& labels_;
  std::vector<LabelFiles> pairs_;
};

// The first target that a rule makes worse; none when there is none.
const LabelTarget* first_worse(const Json& before, const Json& after, const std::vector<LabelTarget>& targets) {
  for (const LabelTarget& target : targets)
    if (mean_dice(after, target) < mean_dice(before, target)) return &target;
  return nullptr;
}

void tell(Determined& d, const PostprocessingRule& rule, bool adopted, const std::string& whose, double before,
          double after, const std::string& but = "") {
  d.tried.push_back(sentence(describe(rule), adopted ? ": adopted, " : ": not adopted, ", whose, " Dice ", before,
                             " before, ", after, " after", but));
}

}  // namespace

std::vector<PostprocessingRule> postprocessing_from_json(const Json& json, const Path& where) {
  const Json names = get<Json>(json, "postprocessing_fns", where),
             arguments = get<Json>(json, "postprocessing_kwargs", where);
  if (!names.is_array() || !arguments.is_array() || names.size() != arguments.size())
    fail(Fault::input, where.string(), ": postprocessing_fns and postprocessing_kwargs are to be lists of one length");
  std::vector<PostprocessingRule> rules;
  for (size_t i = 0; i < names.size(); ++i) {
    PostprocessingRule rule;
    collect_labels(get<Json>(arguments[i], "labels_or_regions", where), where, rule.labels);
    if (names[i] == kRemoveSmall) {
      rule.least_volume_mm3 = get<double>(arguments[i], "volume_mm3", where);
      if (!(rule.least_volume_mm3 > 0))
        fail(Fault::input, where.string(), ": volume_mm3 is ", rule.least_volume_mm3, "; it is a number above 0");
    } else if (names[i] != kKeepLargest) {
      fail(Fault::input, where.string(), ": the rule ", names[i].dump(), " is not known; there are ", kKeepLargest,
           " and ", kRemoveSmall);
    }
    if (rule.labels.empty()) fail(Fault::input, where.string(), ": labels_or_regions of rule ", i + 1, " is empty");
    rules.push_back(rule);
  }
  return rules;
}

Json to_json(const std::vector<PostprocessingRule>& rules) {
  Json names = Json::array(), arguments = Json::array();
  for (const PostprocessingRule& rule : rules) {
    Json a = {{"labels_or_regions", rule.labels.size() == 1 ? Json(rule.labels[0]) : Json(rule.labels)}};
    if (rule.least_volume_mm3 > 0) a["volume_mm3"] = rule.least_volume_mm3;
    names.push_back(rule.least_volume_mm3 > 0 ? kRemoveSmall : kKeepLargest);
    arguments.push_back(a);
  }
  return {{"postprocessing_fns", names}, {"postprocessing_kwargs", arguments}};
}

std::string describe(const PostprocessingRule& rule) {
  if (rule.least_volume_mm3 > 0)
    return sentence("remove components of ", list_of(rule.labels), " below ", rule.least_volume_mm3, " mm3");
  return "keep only the largest component of " + list_of(rule.labels);
}

Removed postprocess(const Tensor& labels, const Geometry& grid, const std::vector<PostprocessingRule>& rules) {
  Removed removed;
  for (const PostprocessingRule& rule : rules) {
    const Components found = find_components(region_mask(labels, {"", rule.labels}));
    const double least = least_voxels(rule, found, grid);
    std::vector<uint8_t> goes{0};
    for (const Component& c : found.components) {
      goes.push_back(static_cast<double>(c.voxels) < least);
      removed.components += goes.back();
      if (goes.back()) removed.voxels += c.voxels;
    }
    const int32_t* index = found.index.data<int32_t>();
    uint8_t* voxel = labels.data<uint8_t>();
    for (int64_t i = 0; i < labels.size(); ++i)
      if (goes[static_cast<size_t>(index[i])]) voxel[i] = 0;
  }
  return removed;
}

Determined determine_postprocessing(const Path& prediction_dir, const Path& truth_dir, const Labels& labels,
                                    const std::function<void(int64_t, int64_t)>& progress) {
  const std::vector<LabelTarget> targets = labels.foreground();
  const int64_t passes = 2 + (targets.size() > 1 ? static_cast<int64_t>(targets.size()) : 0);
  int64_t pass = 0;
  Determined d;
  const Trials trials(prediction_dir, truth_dir, labels, d);
  const auto measured = [&](const std::vector<PostprocessingRule>& rules) {
    progress(pass++, passes);
    return trials.summary(rules);
  };
  d.before = d.after = measured({});

  PostprocessingRule all;
  for (int label = 1; label <= labels.max_label(); ++label) all.labels.push_back(label);
  const Json together = measured({all});
  const double before = foreground_dice(d.before), after = foreground_dice(together);
  const LabelTarget* worse = first_worse(d.before, together, targets);
  const bool adopted = after > before && !worse;
  tell(d, all, adopted, "mean", before, after, after > before && worse ? ", but " + worse->name + " gets worse" : "");
  if (adopted) {
    d.rules.push_back(all);
    d.after = together;
  }
  if (targets.size() > 1)
    for (const LabelTarget& target : targets) {
      std::vector<PostprocessingRule> rules = d.rules;
      rules.push_back({target.labels});
      const Json one = measured(rules);
      const double old_dice = mean_dice(d.after, target), new_dice = mean_dice(one, target);
      tell(d, rules.back(), new_dice > old_dice, target.name, old_dice, new_dice);
      if (!(new_dice > old_dice)) continue;
      d.rules = rules;
      d.after = one;
    }
  progress(passes, passes);
  return d;
}

Json to_json(const Determined& d) {
  Json json = {{"input_folder", {{"foreground_mean", d.before.at("foreground_mean")}, {"mean", d.before.at("mean")}}},
               {"postprocessed", {{"foreground_mean", d.after.at("foreground_mean")}, {"mean", d.after.at("mean")}}}};
  json.update(to_json(d.rules));
  return json;
}

}  // namespace metvox
