// SPDX-License-Identifier: Apache-2.0
// Labels and regions of a data set: what a voxel may be called, what the network answers, how answers become labels.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"

namespace metvox {

// A target is what one output channel means: a region (labels that it joins) or one label.
struct LabelTarget {
  std::string name;
  std::vector<int> labels;
  bool operator==(const LabelTarget&) const = default;
};

struct Labels {
  // As in dataset.json, in file order, "background" (0) and "ignore" included; more than one value makes it a region.
  std::vector<LabelTarget> entries;
  std::vector<int> regions_class_order;  // label written for each region, empty without regions

  bool operator==(const Labels&) const = default;
  static Labels from_json(const Json& dataset_json, const Path& where);
  Json labels_json() const;  // the value of "labels"
  bool has_regions() const;
  int ignore_label() const;  // -1 when there is none
  // Region training: regions in file order, one sigmoid head each. Label training: background first, one softmax head
  // each.
  std::vector<LabelTarget> heads() const;
  // What metrics speak of: regions, or labels without background.
  std::vector<LabelTarget> foreground() const;
  int max_label() const;
  int num_entries() const { return static_cast<int>(entries.size()); }  // the planner's n_out: all names
};

}  // namespace metvox
