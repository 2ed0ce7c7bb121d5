// SPDX-License-Identifier: Apache-2.0
// A folder with small images, labels and a dataset.json.
#pragma once
#include <gtest/gtest.h>

#include <unistd.h>

#include <string>
#include <vector>

#include "io/nifti.h"

namespace metvox {

// A folder of its own for each test, gone afterwards.
class DatasetFolder : public testing::Test {
 protected:
  void SetUp() override {
    root = Path(testing::TempDir()) /
           sentence("metvox_", testing::UnitTest::GetInstance()->current_test_info()->test_suite_name(), "_",
                    testing::UnitTest::GetInstance()->current_test_info()->name(), "_", ::getpid());
    std::filesystem::create_directories(root);
  }
  void TearDown() override { std::filesystem::remove_all(root); }

  static Geometry grid(const std::array<int64_t, 3>& shape, double spacing_mm = 1) {
    Affine a;
    for (size_t i = 0; i < 3; ++i) a.m[i][i] = spacing_mm;
    return make_geometry(shape, a);
  }
  // Voxels value, value + 1, ...
  Path write(const std::string& name, float value = 1, const Geometry& g = grid({4, 3, 2})) const {
    const Path path = root / name;
    std::filesystem::create_directories(path.parent_path());
    Tensor t = Tensor::empty({g.shape[2], g.shape[1], g.shape[0]}, DType::f32);
    for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = value + static_cast<float>(i);
    write_nifti(path, t, g);
    return path;
  }
  Path write_label(const std::string& name, uint8_t value = 1, const Geometry& g = grid({4, 3, 2})) const {
    const Path path = root / name;
    std::filesystem::create_directories(path.parent_path());
    Tensor t = Tensor::zeros({g.shape[2], g.shape[1], g.shape[0]}, DType::u8);
    t.data<uint8_t>()[5] = value;
    write_nifti(path, t, g);
    return path;
  }
  void write_brats(const std::string& folder, const std::string& id) const {
    for (const char* name : {"t1c", "t1n", "t2f", "t2w"}) write(folder + id + "-" + name + ".nii.gz");
    write_label(folder + id + "-seg.nii.gz");
  }
  void write_description(int num_training, const std::string& channels = R"({"0": "T1C", "1": "T2F"})") const {
    write_text(root / "dataset.json", R"({"channel_names": )" + channels + R"(, "labels": {"background": 0, "met": 1},
      "numTraining": )" + std::to_string(num_training) +
                                          R"(, "file_ending": ".nii.gz"})");
  }
  Path root;
};

inline std::string first(const std::vector<std::string>& faults) { return faults.empty() ? "" : faults.front(); }

inline void expect_mentions(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << '"' << part << "\" is not in: " << text;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace metvox
