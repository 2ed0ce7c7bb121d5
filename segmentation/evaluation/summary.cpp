// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/summary.h"

#include <cmath>

namespace metvox {

namespace {

Json metrics_json(const Counts& c) {
  return {{"Dice", c.dice()},        {"FN", c.fn},        {"FP", c.fp}, {"IoU", c.iou()}, {"TN", c.tn}, {"TP", c.tp},
          {"n_pred", c.predicted()}, {"n_ref", c.truth()}};
}

double mean_of_numbers(const std::vector<double>& values) {
  double sum = 0;
  int64_t n = 0;
  for (double v : values) {
    if (std::isnan(v)) continue;
    sum += v;
    ++n;
  }
  return sum / static_cast<double>(n);
}

}  // namespace

std::string summary_key(const LabelTarget& target) {
  if (target.labels.size() == 1) return std::to_string(target.labels[0]);
  std::string key;
  for (int label : target.labels) key += (key.empty() ? "(" : ", ") + std::to_string(label);
  return key + ")";
}

Json summary_json(const Labels& labels, const std::vector<SummaryCase>& cases) {
  const std::vector<LabelTarget> targets = labels.foreground();
  Json per_case = Json::array(), means = Json::object(), foreground = Json::object();
  for (const SummaryCase& c : cases) {
    Json metrics = Json::object();
    for (size_t t = 0; t < targets.size(); ++t) metrics[summary_key(targets[t])] = metrics_json(c.targets[t]);
    per_case.push_back(
        {{"metrics", metrics}, {"prediction_file", c.prediction.string()}, {"reference_file", c.truth.string()}});
  }
  const Json names = metrics_json({});
  for (const auto& [name, unused] : names.items()) {
    double sum = 0;  // a target without any number makes the mean of the means undefined, as in nnU-Net
    for (const LabelTarget& target : targets) {
      std::vector<double> values;
      for (const Json& c : per_case) values.push_back(c["metrics"][summary_key(target)][name].get<double>());
      const double mean = mean_of_numbers(values);
      means[summary_key(target)][name] = mean;
      sum += mean;
    }
    foreground[name] = sum / static_cast<double>(targets.size());
  }
  return {{"foreground_mean", foreground}, {"mean", means}, {"metric_per_case", per_case}};
}

}  // namespace metvox
