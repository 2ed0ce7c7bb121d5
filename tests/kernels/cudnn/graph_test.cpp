// SPDX-License-Identifier: Apache-2.0
// Without a GPU: cuDNN plans for a device that is only described to it, so that it judges our graphs by its own rules.
#include "kernels/cudnn/graph.h"

#include <gtest/gtest.h>

#if METVOX_CUDNN
#include <algorithm>
#include <set>

namespace metvox::cudnn {
namespace {

// What cuDNN writes of an H100.
constexpr std::string_view kH100 = R"({"deviceName": "NVIDIA H100", "cudaDeviceId": 0, "pciDeviceId": 0,
  "deviceVer": 900, "driverVer": 13000, "isTccDriver": 0, "supportCoopLaunch": 1, "warpSize": 32,
  "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
  "multiProcessorCount": 132, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
  "maxThreadsPerSM": 2048, "totalGlobalMem": 85017755648, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
  "l2CacheSize": 52428800})";

class DescribedDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (!library().why.empty()) GTEST_SKIP() << library().why;
    device_.emplace(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    try {
      const std::string text(kH100);
      device_->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()) + 1,
                   text.c_str());
      device_->finalize("a described device");
    } catch (const Error& e) {
      GTEST_SKIP() << "this cuDNN wants other words for a device: " << e.what();
    }
    place_.described = &*device_;
  }

  // Plans among the first few configurations.
  size_t plans(const Convolution& c) const {
    size_t made = 0;
    const std::vector<Config> all = configs(c, place_);
    for (size_t i = 0; i < all.size() && i < 4; ++i) try {
        made += Plan(all[i], place_).workspace_bytes() <= size_t{256} << 20;
      } catch (const Error&) {
      }
    return made;
  }

  std::optional<Descriptor> device_;
  Place place_;
};
using graph = DescribedDevice;

Conv3dProblem problem(DType t) {
  Conv3dProblem p{2, 32, 0, 64, {24, 20, 28}};
  p.dtype = t;
  return p;
}
constexpr Pass kPasses[] = {Pass::forward, Pass::backward_data, Pass::backward_weights};

}  // namespace

TEST_F(graph, plans_for_every_pass_and_type) {
  for (const DType t : {DType::bf16, DType::f16, DType::f32})
    for (const Pass pass : kPasses)
      for (const bool adds : {false, true})
        EXPECT_GT(plans({problem(t), pass, adds}), 0u) << name_of(t) << " pass " << static_cast<int>(pass) << adds;
}

// On tensor cores f32 becomes tf32, which has to be allowed; what multiplies as f32 is allowed with it.
TEST_F(graph, rounds_to_tf32_only_where_that_is_allowed) {
  for (const Pass pass : kPasses) {
    const auto names = [&](bool tf32) {
      Conv3dProblem p = problem(DType::f32);
      p.tf32 = tf32;
      std::set<std::string> all;
      for (const Config& c : configs({p, pass, false}, place_)) all.insert(c.name);
      return all;
    };
    const auto as_f32 = names(false), as_tf32 = names(true);
    EXPECT_GT(as_tf32.size(), as_f32.size()) << static_cast<int>(pass);
    EXPECT_TRUE(std::includes(as_tf32.begin(), as_tf32.end(), as_f32.begin(), as_f32.end())) << static_cast<int>(pass);
  }
}

// What varies or rounds is listed only for those who ask, and says so in its name.
TEST_F(graph, ways_that_vary_or_round_are_marked) {
  size_t marked = 0;
  for (const DType t : {DType::bf16, DType::f32})
    for (const Pass pass : kPasses) {
      const auto names = [&](bool any) {
        std::set<std::string> all;
        for (const Config& c : configs({problem(t), pass, false, any}, place_)) all.insert(c.name);
        return all;
      };
      const auto is_marked = [](const std::string& name) {
        return name.ends_with(" varies") || name.ends_with(" rounds");
      };
      const auto chosen_from = names(false);
      auto any = names(true);
      for (const std::string& name : chosen_from) {
        EXPECT_FALSE(is_marked(name)) << name;
        EXPECT_EQ(any.erase(name), 1u) << name;
      }
      for (const std::string& name : any) EXPECT_TRUE(is_marked(name)) << name;
      marked += any.size();
    }
  EXPECT_GT(marked, 0u);
}

TEST_F(graph, plans_for_the_shapes_of_networks) {
  Conv3dProblem first{2, 4, 0, 32, {32, 32, 32}}, strided{2, 32, 0, 64, {32, 32, 32}, {3, 3, 3}, {2, 2, 2}};
  Conv3dProblem head{2, 32, 0, 3, {16, 16, 16}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}};
  Conv3dProblem up{2, 32, 0, 64, {16, 16, 16}, {2, 2, 2}, {2, 2, 2}, {0, 0, 0}}, deep{2, 320, 0, 320, {4, 4, 4}};
  for (Conv3dProblem p : {first, strided, head, up, deep})
    for (const Pass pass : kPasses) {
      p.dtype = DType::bf16;
      EXPECT_GT(plans({p, pass, false}), 0u) << p.describe() << " pass " << static_cast<int>(pass);
    }
}

TEST_F(graph, names_are_unique_and_the_same_again) {
  const auto names = [&] {
    std::vector<std::string> all;
    for (const Config& c : configs({problem(DType::bf16), Pass::forward, false}, place_)) all.push_back(c.name);
    return all;
  };
  const auto once = names();
  EXPECT_EQ(once, names());
  EXPECT_EQ(std::set<std::string>(once.begin(), once.end()).size(), once.size());
}

}  // namespace metvox::cudnn
#endif
