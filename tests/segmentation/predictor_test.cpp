// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/predictor.h"

#include <cmath>
#include <fstream>

#include "fake_model.h"
#include "io/nifti.h"
#include "kernels/sim/capture.h"
#include "kernels/sim/memory.h"
#include "segmentation/inference/predict_memory.h"

namespace metvox {

namespace {

constexpr Int3 kPatch{8, 8, 12};

// Mirrors (C, z, y, x) along the axes whose bits are set.
Tensor mirror(const Tensor& t, int flips) {
  Tensor out = Tensor::empty(t.shape(), DType::f32);
  const Shape& n = t.shape();
  for (int64_t i = 0; i < t.size(); ++i) {
    int64_t x = i % n[3], y = i / n[3] % n[2], z = i / (n[3] * n[2]) % n[1];
    const int64_t c = i / (n[3] * n[2] * n[1]);
    if (flips & 1) z = n[1] - 1 - z;
    if (flips & 2) y = n[2] - 1 - y;
    if (flips & 4) x = n[3] - 1 - x;
    out.data<float>()[((c * n[1] + z) * n[2] + y) * n[3] + x] = t.data<float>()[i];
  }
  return out;
}

Tensor crop(const Tensor& t, const Int3& first, const Int3& size) {
  const Shape& n = t.shape();
  Tensor out = Tensor::empty({n[0], size[0], size[1], size[2]}, DType::f32);
  float* to = out.data<float>();
  for (int64_t c = 0; c < n[0]; ++c)
    for (int64_t z = 0; z < size[0]; ++z)
      for (int64_t y = 0; y < size[1]; ++y)
        for (int64_t x = 0; x < size[2]; ++x)
          *to++ = t.data<float>()[((c * n[1] + z + first[0]) * n[2] + y + first[1]) * n[3] + x + first[2]];
  return out;
}

Predictor make(const ModelFolder& model, const std::vector<std::string>& folds, bool mirrored) {
  return Predictor(model, folds, "final", {.5, mirrored, {}});
}

void expect_same(const Tensor& got, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(got.size(), static_cast<int64_t>(expected.size()));
  for (int64_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got.data<float>()[i], expected[i], tolerance) << i;
}

// Sums of a few dozen float products of logits below 4: far above their rounding, far below any wrong weight.
constexpr double kTolerance = 2e-5;

}  // namespace

TEST(predictor, averages_over_mirror_images) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Tensor data = random_data({4, 8, 8, 12}, 1);
  Predictor plain = make(model, {"0"}, false), mirrored = make(model, {"0"}, true);
  EXPECT_EQ(plain.runs(kPatch), 1);
  EXPECT_EQ(mirrored.runs(kPatch), 8);
  std::vector<double> mean(3 * volume(kPatch));
  for (int flips = 0; flips < 8; ++flips) {
    const Tensor logits = mirror(plain.logits(mirror(data, flips), silent), flips);
    for (int64_t i = 0; i < logits.size(); ++i) mean[i] += logits.data<float>()[i] / 8;
  }
  expect_same(mirrored.logits(data, silent), mean, kTolerance);
}

TEST(predictor, averages_over_folds_and_leaves_no_trace) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 3));
  EXPECT_EQ(model.folds, (std::vector<std::string>{"0", "1", "2"}));
  const Tensor data = random_data({4, 8, 8, 12}, 2);
  std::vector<double> mean(3 * volume(kPatch));
  for (const std::string fold : {"0", "2"}) {
    const Tensor logits = make(model, {fold}, false).logits(data, silent);
    for (int64_t i = 0; i < logits.size(); ++i) mean[i] += logits.data<float>()[i] / 2;
  }
  Predictor both = make(model, {"0", "2"}, false);
  const Tensor first = both.logits(data, silent), second = both.logits(data, silent);
  expect_same(first, mean, kTolerance);
  EXPECT_EQ(std::memcmp(first.view().data, second.view().data, first.bytes()), 0);
}

// As nnU-Net: a fold's mean is rounded to f16, then their sum, then its half.
TEST(predictor, sums_in_f16_round_at_every_fold) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  const Tensor data = random_data({4, 11, 8, 19}, 4);
  const auto logits = [&](const std::vector<std::string>& folds) {
    int64_t last = 0, total = 0;
    const Tensor t = Predictor(model, folds, "final", {.5, true, {}, SIZE_MAX, DType::f16})
                         .logits(data, [&](int64_t done, int64_t runs) {
                           EXPECT_EQ(done, ++last);
                           total = runs;
                         });
    EXPECT_EQ(last, total);
    EXPECT_EQ(t.dtype(), DType::f16);
    return t;
  };
  const Tensor a = logits({"0"}), b = logits({"1"}), both = logits({"0", "1"});
  const auto at = [](const Tensor& t, int64_t i) { return static_cast<float>(t.data<f16>()[i]); };
  for (int64_t i = 0; i < both.size(); ++i)
    ASSERT_EQ(at(both, i), static_cast<float>(f16(static_cast<float>(f16(at(a, i) + at(b, i))) / 2))) << i;
}

TEST(predictor, mirrors_only_what_the_training_mirrored) {
  const Path dir = write_fake_model(fresh_dir("results"), kPatch, 1);
  const auto runs = [&](const Json& axes) {
    const Path file = dir / "fold_0" / "checkpoint_final.safetensors";
    const SafeTensors old = read_safetensors(file);
    Json facts = Json::parse(old.metadata.at("metvox"));
    facts["inference_allowed_mirroring_axes"] = axes;
    std::vector<NamedView> tensors;
    for (const auto& [name, tensor] : old.tensors) tensors.push_back({name, tensor.view()});
    write_safetensors(file, tensors, {{"metvox", facts.dump()}});
    return make(open_model(dir), {"0"}, true).runs(kPatch);
  };
  EXPECT_EQ(runs({0, 1, 2}), 8);
  EXPECT_EQ(runs({0, 2}), 4);
  EXPECT_EQ(runs(nullptr), 1);
  EXPECT_THROW(runs({3}), Error);
}

TEST(predictor, opens_the_folds_that_are_wanted_and_no_others) {
  const Path dir = write_fake_model(fresh_dir("results"), kPatch, 2);
  std::filesystem::resize_file(dir / "fold_1" / "checkpoint_final.safetensors", 5);
  EXPECT_THROW(open_model(dir), Error);
  EXPECT_EQ(open_model(dir, "final", {"0"}).folds, (std::vector<std::string>{"0"}));
  EXPECT_THROW(open_model(dir, "final", {"0", "3"}), Error);
}

TEST(predictor, blends_windows_by_their_gaussians) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Int3 size{11, 8, 19};
  const Tensor data = random_data({4, size[0], size[1], size[2]}, 3);
  Predictor predictor = make(model, {"0"}, false);
  std::vector<double> sum(3 * volume(size)), weight(volume(size));
  const auto weights = window_weights(kPatch);
  for (int64_t z0 : window_starts(size[0], 8, .5))
    for (int64_t x0 : window_starts(size[2], 12, .5)) {
      const Tensor logits = predictor.logits(crop(data, {z0, 0, x0}, kPatch), silent);
      for (int64_t z = 0; z < 8; ++z)
        for (int64_t y = 0; y < 8; ++y)
          for (int64_t x = 0; x < 12; ++x) {
            const int64_t at = ((z + z0) * size[1] + y) * size[2] + x + x0;
            const auto w = static_cast<double>(weights[(z * 8 + y) * 12 + x]);
            weight[at] += w;
            for (int64_t r = 0; r < 3; ++r)
              sum[r * volume(size) + at] += w * logits.data<float>()[((r * 8 + z) * 8 + y) * 12 + x];
          }
    }
  for (size_t i = 0; i < sum.size(); ++i) sum[i] /= weight[i % weight.size()];
  expect_same(predictor.logits(data, silent), sum, kTolerance);
  EXPECT_EQ(predictor.runs(size), 2 * 3);
}

// Windows are cut, flipped and blended on the device; two folds, since each brings its own weights there.
TEST(predictor, answers_alike_on_the_simulated_gpu) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  const Tensor data = random_data({4, 9, 5, 15}, 6);
  const auto logits = [&](const Target& target) {
    return Predictor(model, model.folds, "final", {.5, true, target}).logits(data, silent);
  };
  const int64_t before = simt::counts().replayed;
  const Tensor cpu = logits({}), sim = logits({{Device::Kind::sim}}), half = logits({{Device::Kind::sim}, DType::bf16});
  double whole = 0, apart = 0, half_apart = 0;
  for (int64_t i = 0; i < cpu.size(); ++i) {
    whole += std::pow(cpu.data<float>()[i], 2);
    apart += std::pow(sim.data<float>()[i] - cpu.data<float>()[i], 2);
    half_apart += std::pow(half.data<float>()[i] - cpu.data<float>()[i], 2);
  }
  EXPECT_LT(std::sqrt(apart / whole), 1e-5);
  EXPECT_LT(std::sqrt(half_apart / whole), 1e-2);
  // All 64 runs but those that pack a fold's weights, one a layer and fold, and the first after the first of these.
  EXPECT_EQ(simt::counts().replayed - before, 2 * (4 * 8 * 2 - 2 * 2 - 1));
}

TEST(predictor, keeps_a_case_on_the_host_where_the_device_is_full) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Tensor data = random_data({4, 9, 5, 15}, 6);
  Predictor predictor(model, {"0"}, "final", {.5, true, {{Device::Kind::sim}}});
  const Tensor there = predictor.logits(data, silent);
  simt::limit_device_memory(simt::device_memory_taken() + 1000);
  const Tensor here = predictor.logits(data, silent);
  simt::limit_device_memory(SIZE_MAX);
  expect_same(here, {there.data<float>(), there.data<float>() + there.size()}, kTolerance);
}

// What a device takes stays within what it may, and says nothing else: the case there, or on the host; 20 classes and
// regions, one fold and several, mirrored.
TEST(predictor, same_bits_within_less_of_the_devices_memory) {
  const Target sim{{Device::Kind::sim}};
  const Tensor data = random_data({4, 11, 7, 12}, 7);
  for (const bool classes : {false, true}) {
    const DType sums = classes ? DType::f16 : DType::f32;
    const DatasetDescription dataset = classes ? fake_classes(19) : brats_description("x");
    const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2, dataset));
    const Predictor predictor(model, model.folds, "final", {.5, true, sim, SIZE_MAX - 1, sums});
    const size_t before = simt::device_memory_taken();
    size_t most = 0;
    const auto watch = [&](int64_t, int64_t) { most = std::max(most, simt::device_memory_taken() - before); };
    const auto logits = [&](size_t limit) {
      most = 0;
      return Predictor(model, model.folds, "final", {.5, true, sim, limit, sums}).logits(data, watch);
    };
    const Tensor free = logits(SIZE_MAX);
    const PredictorMemory m = predictor.memory();
    const size_t least = m.arena + m.packed + m.weights, whole = least + predictor.device_case_bytes({11, 7, 12});
    EXPECT_TRUE(m.waiting_on_host);
    EXPECT_GT(most, whole);  // the other fold waits there too
    for (const size_t limit : {whole, least}) {
      const Tensor limited = logits(limit);
      EXPECT_EQ(std::memcmp(free.view().data, limited.view().data, free.bytes()), 0) << limit;
      EXPECT_LE(most, limit);
      EXPECT_EQ(most > least, limit == whole);  // else the case is on the host
    }
    try {
      logits(least - 1);
      ADD_FAILURE() << "a limit that cannot be kept";
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::memory);
      EXPECT_NE(std::string(e.what()).find(std::to_string((least + (1 << 20) - 1) >> 20) + " MiB"), std::string::npos);
    }
  }
}

TEST(predictor, refuses_what_it_cannot_do) {
  const Path dir = write_fake_model(fresh_dir("results"), kPatch, 2);
  EXPECT_THROW(open_model(dir, "best"), Error);
  EXPECT_THROW(open_model(dir / "nothing"), Error);
  EXPECT_THROW(open_model(dir, "final", {"0", "1", "0"}), Error);  // the mean would not be that of the folds
  const ModelFolder model = open_model(dir);
  EXPECT_THROW(make(model, {"4"}, false), Error);
  for (const double step_size : {0.0, 1e-9, 0.049, 1.01, std::nan("")}) try {
      Predictor(model, {"0"}, "final", {step_size, true, {}});
      ADD_FAILURE() << step_size;
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::usage) << step_size;
    }
  Tensor extreme = random_data({4, 8, 8, 12}, 4);
  extreme.data<float>()[7] = std::nanf("");
  EXPECT_THROW(make(model, {"0"}, false).logits(extreme, silent), Error);

  std::filesystem::resize_file(checkpoint_path(model, "1", "final"), 2000);
  EXPECT_THROW(make(model, {"1"}, false), Error);
}

TEST(predictor, names_the_tensor_of_another_plan) {
  const Path small = write_fake_model(fresh_dir("small"), kPatch, 1);
  Json plans = read_json(small / "plans.json");
  plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = {4, 8};
  write_json(small / "plans.json", plans);
  try {
    make(open_model(small), {"0"}, false);
    FAIL() << "weights of another shape were taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    const std::string expected =
        "encoder.stages.1.0.convs.0.conv.weight is (6, 4, 3, 3, 3), the network needs (8, 4, 3, 3, 3)";
    EXPECT_NE(std::string(e.what()).find(expected), std::string::npos) << e.what();
  }
}

namespace {

// Four sequences of a case on an odd grid (LAS, not isotropic, 1 voxel thick borders of zeros).
Geometry write_images(const Path& dir, const std::string& id) {
  const Geometry grid =
      make_geometry({14, 13, 9}, Affine{{{{-1.5, 0, 0, 20}, {0, 1, 0, -7}, {0, 0, 2, 3}, {0, 0, 0, 1}}}});
  for (int c = 0; c < 4; ++c) {
    Tensor t = Tensor::zeros({9, 13, 14}, DType::f32);
    Random random(5, static_cast<uint64_t>(c));
    for (int64_t z = 1; z < 8; ++z)
      for (int64_t y = 1; y < 12; ++y)
        for (int64_t x = 1; x < 13; ++x)
          t.data<float>()[(z * 13 + y) * 14 + x] = static_cast<float>(100 + 10 * random.normal());
    write_nifti(dir / (id + "_000" + std::to_string(c) + ".nii.gz"), t, grid);
  }
  return grid;
}

}  // namespace

TEST(predictor, writes_cases_on_their_own_grid_and_goes_on_after_a_bad_one) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Path in = fresh_dir("in"), out = fresh_dir("out");
  const Geometry grid = write_images(in, "good");
  write_images(in, "bad");
  std::filesystem::resize_file(in / "bad_0002.nii.gz", 300);
  std::vector<std::string> faults;
  const auto cases = find_inputs(in, model.dataset.channel_names, &faults);
  ASSERT_EQ(cases.size(), 2u);
  Predictor predictor = make(model, {"0"}, true);
  const auto quiet = [](int64_t, int64_t, double) {};
  const Predictions done = predict_cases(predictor, model, cases, out, {false, true}, quiet);
  EXPECT_EQ(done.written, 1);
  ASSERT_EQ(done.faults.size(), 1u);
  EXPECT_NE(done.faults[0].find("bad"), std::string::npos);
  const Volume labels = read_nifti_labels(out / "good.nii.gz");
  EXPECT_EQ(labels.geometry.shape, grid.shape);
  EXPECT_EQ(labels.geometry.affine.m, grid.affine.m);
  EXPECT_EQ(labels.geometry.quatern, grid.quatern);
  EXPECT_FALSE(std::filesystem::exists(out / "bad.nii.gz"));

  // The labels are those of the probabilities, written WT, TC, ET as 2, 1, 3.
  const SafeTensors p = read_safetensors(out / "good_probabilities.safetensors");
  const Tensor& probabilities = p.tensors.at("probabilities");
  ASSERT_EQ(probabilities.shape(), (Shape{3, 9, 13, 14}));
  const int64_t n = labels.voxels.size();
  for (int64_t i = 0; i < n; ++i) {
    const float* q = probabilities.data<float>() + i;
    const int expected = q[2 * n] > .5f ? 3 : q[n] > .5f ? 1 : q[0] > .5f ? 2 : 0;
    ASSERT_EQ(labels.voxels.data<uint8_t>()[i], expected) << i;
  }

  const Predictions again = predict_cases(predictor, model, {cases[1]}, out, {false, true}, quiet);
  EXPECT_EQ(again.kept, 1);
  EXPECT_EQ(again.written, 0);
  std::filesystem::remove(out / "good_probabilities.safetensors");
  EXPECT_EQ(predict_cases(predictor, model, {cases[1]}, out, {false, true}, quiet).written, 1);
}

TEST(predictor, sequences_read_one_by_one_give_the_same_files) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 2));
  const Path in = fresh_dir("in");
  write_images(in, "a");
  const auto cases = find_inputs(in, model.dataset.channel_names, nullptr);
  Predictor predictor = make(model, {"0", "1"}, true);
  const auto run = [&](bool one_by_one) {
    PredictOptions options;
    options.probabilities = true;
    options.one_by_one = one_by_one;
    const Path out = fresh_dir(one_by_one ? "one" : "all");
    EXPECT_EQ(predict_cases(predictor, model, cases, out, options, [](int64_t, int64_t, double) {}).written, 1);
    const PredictionFiles files = prediction_files(out, "a");
    return std::pair(read_bytes(files.labels), read_bytes(files.probabilities));
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(predictor, needs_are_the_sum_of_what_is_held) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Path in = fresh_dir("in");
  write_images(in, "a");
  const auto cases = find_inputs(in, model.dataset.channel_names, nullptr);
  const Predictor predictor = make(model, {"0"}, true);
  const CaseNeeds n = needs_of(cases[0], predictor, model, false);
  EXPECT_EQ(n.voxels, (Int3{18, 13, 21}));
  EXPECT_EQ(n.runs, 4 * 3 * 3 * 8);
  const size_t raw = 9 * 13 * 14, kept = 18 * 13 * 21, channel = 4 * raw;
  // One sequence, all results, one cropped, and what lies between two axes that change.
  EXPECT_EQ(n.one_by_one_bytes, channel + 4 * 4 * kept + channel + 4 * 9 * 13 * 21);
  EXPECT_EQ(n.at_once_bytes - n.one_by_one_bytes, 3 * channel);
  EXPECT_GT(n.running_bytes, 4 * (4 * kept + 3 * 8 * 13 * 21));

  PredictNeeds all{{n, n}, 1000 << 20, 900 << 20, 50 << 20};
  const size_t room = all.peak(true) - (1050 << 20) - std::max(n.one_by_one_bytes, n.running_bytes);
  EXPECT_EQ(all.peak(false), all.peak(true) - std::max(n.one_by_one_bytes, n.running_bytes) +
                                 std::max(n.at_once_bytes, n.running_bytes));
  EXPECT_LT(room, size_t{64} << 20);
  EXPECT_FALSE(must_read_one_by_one(all, all.peak(false)));
  EXPECT_EQ(must_read_one_by_one(all, all.peak(true)), all.peak(false) > all.peak(true));
  EXPECT_THROW(must_read_one_by_one(all, all.peak(true) - (5 << 20)), Error);
}

TEST(predictor, keeps_only_what_is_a_whole_prediction_of_the_case) {
  const ModelFolder model = open_model(write_fake_model(fresh_dir("results"), kPatch, 1));
  const Path in = fresh_dir("in"), out = fresh_dir("out");
  const Geometry grid = write_images(in, "a");
  const auto cases = find_inputs(in, model.dataset.channel_names, nullptr);
  Predictor predictor = make(model, {"0"}, false);
  const auto run = [&] {
    return predict_cases(predictor, model, cases, out, {false, true}, [](int64_t, int64_t, double) {});
  };
  const Path labels = out / "a.nii.gz", probabilities = out / "a_probabilities.safetensors";
  ASSERT_EQ(run().written, 1);
  const Bytes whole = read_bytes(labels);
  EXPECT_EQ(run().kept, 1);

  const auto predicts_again = [&](const std::string& why) {
    const Predictions done = run();
    EXPECT_EQ(done.kept, 0) << why;
    EXPECT_EQ(done.written, 1) << why;
    ASSERT_EQ(done.warnings.size(), 1u) << why;
    EXPECT_EQ(done.warnings[0], "case a: " + why + "; the case is predicted again");
    EXPECT_EQ(read_bytes(labels), whole) << why;
  };
  std::filesystem::resize_file(labels, whole.size() - 1);
  predicts_again(labels.string() + " is not a whole label image");
  write_text(labels, "");
  predicts_again(labels.string() + " is not a whole label image");
  Tensor other = Tensor::zeros({9, 13, 14}, DType::u8);
  Geometry shifted = grid;
  shifted.affine.m[0][3] += 1;
  write_nifti(labels, other, make_geometry(grid.shape, shifted.affine));
  predicts_again(labels.string() + " lies on another grid than the images");
  other.data<uint8_t>()[7] = 9;
  write_nifti(labels, other, grid);
  predicts_again(labels.string() + " holds labels that the model does not have");
  std::filesystem::resize_file(probabilities, std::filesystem::file_size(probabilities) - 1);
  predicts_again(probabilities.string() + " does not hold the probabilities on the images' grid");

  // A reader's own correction is no stump.
  other.data<uint8_t>()[7] = 3;
  write_nifti(labels, other, grid);
  EXPECT_EQ(run().kept, 1);
}

}  // namespace metvox
