// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/overlap.h"

#include <gtest/gtest.h>

#include "io/json.h"
#include "segmentation/data/case_files.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

Path fresh(const std::string& name) {
  const Path folder = Path(testing::TempDir()) / ("metvox-overlap-" + std::to_string(getpid())) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

// A raw data set; what an image holds is told by `seen`, the sequence and the case.
Path raw_set(const std::string& name, const std::string& seen, const std::vector<std::string>& ids) {
  const Path raw = fresh(name);
  for (const char* folder : {"imagesTr", "labelsTr"}) make_folder(raw / folder);
  write_json(raw / "dataset.json", {{"channel_names", {{"0", "T1C"}, {"1", "T1N"}, {"2", "T2F"}, {"3", "T2W"}}},
                                    {"labels", {{"background", 0}, {"lesion", 1}}},
                                    {"numTraining", ids.size()},
                                    {"file_ending", ".nii.gz"}});
  for (const std::string& id : ids) {
    for (size_t s = 0; s < 4; ++s)
      write_text(raw / "imagesTr" / (id + channel_suffix(s) + ".nii.gz"), sentence(seen, s, id));
    write_text(raw / "labelsTr" / (id + ".nii.gz"), "one label");
  }
  return raw;
}

Json raw_of(const Path& folder) { return {{"raw", folder.string()}}; }
Json folders_of(const Path& folder) {
  return {{"images", (folder / "imagesTr").string()}, {"truth", (folder / "labelsTr").string()}};
}
Json phantoms(int seed) { return {{"phantom", {{"seed", seed}}}}; }

std::vector<std::string> notes(const Json& public_data, const Json& private_data, const Json& held_out) {
  return require_sets_apart(
      study_config({{"public", public_data}, {"private", private_data}, {"held_out", held_out}}, "/study.json"));
}

std::string refusal(const Json& public_data, const Json& private_data, const Json& held_out) {
  try {
    notes(public_data, private_data, held_out);
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  return "";
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(overlap, held_out_cases_are_in_no_set_that_is_learnt_from) {
  const Path a = raw_set("a", "one hospital", {"x", "y"}), b = raw_set("b", "another", {"x", "y"}),
             c = raw_set("c", "a third", {"x", "y"});
  EXPECT_TRUE(notes(raw_of(a), raw_of(b), folders_of(c)).empty());  // equal names alone are nothing
  EXPECT_TRUE(notes(raw_of(a), raw_of(b), {{"cases", {"x"}}}).empty());
  EXPECT_TRUE(says(refusal(raw_of(a), raw_of(b), folders_of(b)), "is case x of the private set"));
  EXPECT_TRUE(says(refusal(raw_of(a), raw_of(b), folders_of(a)), "is case x of the public set"));
  EXPECT_TRUE(says(refusal(raw_of(a), raw_of(a), {{"cases", {"y"}}}), "held-out case y"));
  EXPECT_TRUE(says(refusal(phantoms(1), raw_of(b), folders_of(b)), "is case x of the private set"));
  EXPECT_TRUE(says(refusal(raw_of(a), phantoms(1), folders_of(a)), "is case x of the public set"));
}

TEST(overlap, links_and_copies_are_the_same_case) {
  const Path a = raw_set("a", "one hospital", {"x", "y"}), b = raw_set("b", "another", {"z"});
  const Path linked = fresh("linked"), copied = fresh("copied");
  fs::create_directory_symlink(a / "imagesTr", linked / "imagesTr");
  fs::create_directory_symlink(a / "labelsTr", linked / "labelsTr");
  EXPECT_TRUE(says(refusal(raw_of(b), raw_of(a), folders_of(linked)), "is case x of the private set"));
  for (const char* folder : {"imagesTr", "labelsTr"}) make_folder(copied / folder);
  for (size_t s = 0; s < 4; ++s)
    fs::copy(a / "imagesTr" / ("y" + channel_suffix(s) + ".nii.gz"),
             copied / "imagesTr" / ("renamed" + channel_suffix(s) + ".nii.gz"));
  fs::copy(a / "labelsTr/y.nii.gz", copied / "labelsTr/renamed.nii.gz");
  EXPECT_TRUE(says(refusal(raw_of(b), raw_of(a), folders_of(copied)), "held-out case renamed"));
  write_text(copied / "imagesTr" / ("renamed" + channel_suffix(0) + ".nii.gz"), "One hospital0y");  // the first byte
  EXPECT_EQ(refusal(raw_of(b), raw_of(a), folders_of(copied)), "");
}

TEST(overlap, copies_in_the_private_set_are_said) {
  const Path a = raw_set("a", "one hospital", {"x", "y"}), b = raw_set("b", "another", {"z"});
  for (size_t s = 0; s < 4; ++s)
    fs::copy_file(a / "imagesTr" / ("x" + channel_suffix(s) + ".nii.gz"),
                  a / "imagesTr" / ("y" + channel_suffix(s) + ".nii.gz"), fs::copy_options::overwrite_existing);
  const auto said = notes(raw_of(b), raw_of(a), {{"cases", {"x"}}});
  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(says(said[0], "held-out case x")) << said[0];
}

TEST(overlap, public_and_private_cases_that_are_shared_are_said) {
  const Path a = raw_set("a", "one hospital", {"x", "y", "z"}), b = raw_set("b", "another", {"x"});
  const auto shared = notes(raw_of(a), raw_of(a), folders_of(b));
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_TRUE(says(shared[0], "3 cases of the private set are in the public one too"));
  EXPECT_EQ(notes(phantoms(7), phantoms(7), phantoms(8)).size(), 1u);
  EXPECT_TRUE(notes(phantoms(6), phantoms(7), phantoms(8)).empty());
}

TEST(overlap, seeds_of_held_out_phantoms_are_their_own) {
  EXPECT_TRUE(says(refusal(phantoms(1), phantoms(2), phantoms(1)), "has the seed of the public set"));
  EXPECT_TRUE(says(refusal(phantoms(1), phantoms(2), phantoms(2)), "has the seed of the private set"));
}

}  // namespace metvox
