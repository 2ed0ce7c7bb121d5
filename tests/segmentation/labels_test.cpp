// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/labels.h"

#include <gtest/gtest.h>

namespace metvox {
namespace {

Labels from(const std::string& labels, const std::string& rest = "") {
  return Labels::from_json(Json::parse("{\"labels\": " + labels + rest + "}"), "dataset.json");
}

std::vector<std::string> names(const std::vector<LabelTarget>& targets) {
  std::vector<std::string> out;
  for (const LabelTarget& t : targets) out.push_back(t.name);
  return out;
}

using Names = std::vector<std::string>;

TEST(labels, regions_keep_the_order_of_the_file) {
  const std::string text = R"({"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3})";
  const Labels l = from(text, R"(, "regions_class_order": [2, 1, 3])");
  EXPECT_TRUE(l.has_regions());
  EXPECT_EQ(names(l.heads()), (Names{"WT", "TC", "ET"}));
  EXPECT_EQ(names(l.foreground()), names(l.heads()));
  EXPECT_EQ(l.regions_class_order, (std::vector<int>{2, 1, 3}));
  EXPECT_EQ(l.num_entries(), 4);
  EXPECT_EQ(l.max_label(), 3);
  EXPECT_EQ(l.ignore_label(), -1);
  EXPECT_EQ(l.labels_json(), Json::parse(text));
}

TEST(labels, without_regions_heads_follow_the_values) {
  const Labels l = from(R"({"b": 2, "background": 0, "a": 1, "ignore": 3})");
  EXPECT_FALSE(l.has_regions());
  EXPECT_EQ(names(l.heads()), (Names{"background", "a", "b"}));
  EXPECT_EQ(names(l.foreground()), (Names{"a", "b"}));
  EXPECT_EQ(l.ignore_label(), 3);
  EXPECT_EQ(l.max_label(), 2);
  EXPECT_EQ(l.num_entries(), 4);
}

TEST(labels, faults_are_sentences) {
  for (const char* bad :
       {R"({"a": 1})", R"({"background": 1, "a": 0})", R"({"background": 0})", R"({"background": 0, "a": 2})",
        R"({"background": 0, "a": "1"})", R"({"background": 0, "a": 1.5})", R"({"background": 0, "a": -1})",
        R"({"background": 0, "a": []})", R"({"background": 0, "a": 1, "b": 1})", R"([0, 1])",
        R"({"background": 0, "a": [1, 2]})", R"({"background": 0, "ignore": 1, "a": 2})"}) {
    try {
      from(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input) << bad;
      EXPECT_EQ(std::string(e.what()).find("dataset.json"), 0u) << e.what();
    }
  }
  EXPECT_THROW(from(R"({"background": 0, "a": [1, 2], "b": 2})", R"(, "regions_class_order": [1])"), Error);
  EXPECT_THROW(from(R"({"background": 0, "a": [1, 2], "b": 2})", R"(, "regions_class_order": [1, 5])"), Error);
}

}  // namespace
}  // namespace metvox
