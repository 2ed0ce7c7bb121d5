// SPDX-License-Identifier: Apache-2.0
// predict, preprocess and train within a limit of memory: what was announced, what was held, and the same files.
#include "io/json.h"
#include "io/nifti.h"
#include "tensor/random.h"
#include "tests/segmentation/fake_model.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

constexpr size_t kMiB = 1 << 20;

// Four sequences of 96 x 144 x 160 voxels of 1.5 x 1 x 1 mm, as large as this machine's other uses of memory.
void write_case(const Path& dir, const std::string& id) {
  Affine affine;
  affine.m[2][2] = 1.5;
  const Geometry grid = make_geometry({160, 144, 96}, affine);
  Tensor t = Tensor::empty({96, 144, 160}, DType::f32);
  for (int c = 0; c < 4; ++c) {
    Random random(5, static_cast<uint64_t>(c));
    for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = 100 + static_cast<float>(random.below(32));
    write_nifti(dir / (id + "_000" + std::to_string(c) + ".nii.gz"), t, grid);
  }
}

}  // namespace

TEST(memory, predict_keeps_what_it_announces) {
  const Path in = fresh_folder("in"), out = fresh_folder("out");
  const Path model = write_fake_model(fresh_folder("results"), {32, 32, 32}, 2);
  write_case(in, "a");
  write_case(in, "b");
  const auto run = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> all{"predict",       "-i",          in,  "-o",          out / name, "-m",       model,
                                 "--disable-tta", "--step-size", "1", "--precision", "f32",      "--device", "cpu"};
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  const Outcome announced = run("free", {"--dry-run", "--json"});
  ASSERT_EQ(announced.code, 0) << announced.err;
  const Json needs = Json::parse(announced.out);
  const auto sum = needs["sum_bytes"].get<size_t>(), least = needs["least_bytes"].get<size_t>();
  EXPECT_LT(least + 16 * kMiB, sum);

  const auto held = [&](const Outcome& o, size_t expected) {
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_LE(o.peak_bytes, expected);
    EXPECT_GE(o.peak_bytes + expected / 50 + 64 * kMiB, expected);
  };
  held(run("free", {}), sum);
  const std::string limit = std::to_string((least + kMiB - 1) / kMiB) + "M";
  held(run("limited", {"--max-ram", limit}), least);
  for (const char* id : {"a.nii.gz", "b.nii.gz"})
    EXPECT_EQ(read_bytes(out / "free" / id), read_bytes(out / "limited" / id));

  const Outcome refused = run("refused", {"--max-ram", std::to_string(least - 8 * kMiB)});
  EXPECT_EQ(refused.code, static_cast<int>(Fault::memory));
  EXPECT_TRUE(says(refused.err, "--max-ram of"));
  EXPECT_TRUE(says(refused.err, "at least"));
  EXPECT_FALSE(std::filesystem::exists(out / "refused"));
}

// A data set of large phantoms, planned for a small network.
TEST(memory, preprocess_and_train_keep_what_they_announce) {
  const Path dir = fresh_folder("work"), raw = dir / "raw", made = dir / "made", plans = made / "plans.json";
  const auto ok = [](std::vector<std::string> arguments) {
    const Outcome o = metvox_run(arguments);
    EXPECT_EQ(o.code, 0) << arguments.front() << ": " << o.err;
    return o;
  };
  ok({"phantom", "--out", raw, "--cases", "3", "--seed", "1", "--size", "96x112x96", "--quiet"});
  ok({"plan", raw, "--out", made, "--base-features", "4", "--patch-size", "32", "32", "32", "--batch-size", "2",
      "--quiet"});
  const auto preprocess = [&](const Path& out, std::vector<std::string> more) {
    std::vector<std::string> all{"preprocess", raw, "--plans", plans, "--out", out, "--threads", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  const Json needs = Json::parse(preprocess(dir / "free", {"--dry-run", "--json"}).out);
  const auto most = needs["sum_bytes"].get<size_t>(), least = needs["least_bytes"].get<size_t>();
  EXPECT_LT(least + 8 * kMiB, most);
  const auto mib = [](size_t bytes) { return std::to_string((bytes + kMiB - 1) / kMiB) + "M"; };
  const Outcome free = preprocess(dir / "free", {}), limited = preprocess(dir / "limited", {"--max-ram", mib(least)});
  EXPECT_EQ(free.code + limited.code, 0) << free.err << limited.err;
  EXPECT_LE(free.peak_bytes, most);
  EXPECT_LE(limited.peak_bytes, least + 4 * kMiB);
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir / "free"))
    if (entry.is_regular_file()) {
      ++files;
      EXPECT_EQ(read_bytes(entry.path()), read_bytes(dir / "limited" / entry.path().lexically_relative(dir / "free")));
    }
  EXPECT_GE(files, 8);
  const Outcome refused = preprocess(dir / "refused", {"--max-ram", mib(least - 8 * kMiB)});
  EXPECT_EQ(refused.code, static_cast<int>(Fault::memory));
  EXPECT_TRUE(says(refused.err, "at least")) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(dir / "refused"));

  const auto train = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all{
        "train",        dir / "free", "--fold",           "7",  "--out",    dir / out, "--epochs",    "1",
        "--iterations", "3",          "--val-iterations", "1",  "--device", "cpu",     "--precision", "f32",
        "--threads",    "2",          "--augmentation",   "bg1"};
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  const Outcome whole = train("whole", {}), none = train("none", {"--max-ram", "8M"});
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(none.code, static_cast<int>(Fault::memory));
  EXPECT_FALSE(std::filesystem::exists(dir / "none"));
  const size_t at = none.err.find("give --max-ram ");
  ASSERT_NE(at, std::string::npos) << none.err;
  const size_t lowest = std::stoul(none.err.substr(at + 15)) * kMiB;
  const Outcome small = train("small", {"--max-ram", mib(lowest)});
  ASSERT_EQ(small.code, 0) << small.err;
  EXPECT_LE(small.peak_bytes, lowest + 4 * kMiB);
  EXPECT_LT(small.peak_bytes, whole.peak_bytes);
  const Path fold = Path(Json::parse(train("small", {"--resume", "--json"}).out)["fold"].get<std::string>())
                        .lexically_relative(dir / "small");
  const Path weights = "checkpoint_final.safetensors";
  EXPECT_EQ(read_bytes(dir / "whole" / fold / weights), read_bytes(dir / "small" / fold / weights));
}

TEST(memory, sizes_are_read_as_people_write_them) {
  const Path model = write_fake_model(fresh_folder("results"), {8, 8, 12}, 1), in = fresh_folder("in");
  const auto refused = [&](const std::string& size) {
    return metvox_run({"predict", "-i", in, "-o", fresh_folder("out"), "-m", model, "--max-ram", size});
  };
  for (const char* size : {"", "G", "-1G", "4T", "0", "1e30", "many"}) EXPECT_EQ(refused(size).code, 2) << size;
  const Outcome o = metvox_run(
      {"predict", "-i", in, "-o", fresh_folder("out"), "-m", model, "--device", "cpu", "--max-vram", "1.5G"});
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(says(o.err, "--max-vram: cpu is no GPU"));
}

}  // namespace metvox
