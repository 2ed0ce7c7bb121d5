// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ball_cases.h"

namespace metvox {
namespace {

struct Killed {};

// Stops as kill -9 would after the checkpoint of epoch `last` (counted from 0).
void run_until(const TrainRequest& request, int64_t last) {
  Trainer trainer(request);
  TrainEvents events;
  events.epoch = [&](const EpochRecord& r) {
    if (r.epoch == last) throw Killed{};
  };
  EXPECT_THROW(trainer.run(events), Killed);
}

Path run_to_the_end(const TrainRequest& request, std::string* said = nullptr) {
  Trainer trainer(request);
  TrainEvents events;
  events.say = [&](const std::string& text) {
    if (said) *said += text + "\n";
  };
  EXPECT_TRUE(trainer.run(events).empty());
  return trainer.fold_folder();
}

std::vector<Json> metrics_without_times(const Path& fold) {
  std::vector<Json> lines;
  std::istringstream text(read_text(fold / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(Json::parse(line));
    for (const char* key : {"started", "seconds", "step_ms", "wait_ms"}) lines.back().erase(key);
  }
  return lines;
}

}  // namespace

TEST(trainer, killed_and_resumed_gives_the_bits_of_an_unbroken_run) {
  const Path data = preprocessed("resume_data");
  const Path whole = run_to_the_end(request_for(data, "whole"));
  EXPECT_FALSE(std::filesystem::exists(whole / "checkpoint_latest.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(whole / "progress.png"));
  const auto expected = metrics_without_times(whole);
  ASSERT_EQ(expected.size(), 3u);
  TrainRequest broken = request_for(data, "broken");
  run_until(broken, 1);
  // A line of an epoch whose checkpoint was not written any more.
  const Path fold = broken.results / "nnunet__dice-bce__3d_fullres" / "fold_0";
  write_text(fold / ".metvox-1-2-3.tmp", "half a checkpoint");
  const std::string before = read_text(fold / "metrics.jsonl");
  write_text(fold / "metrics.jsonl", before + "{\"epoch\": 3}\n");
  broken.resume = true;
  std::string said;
  EXPECT_EQ(run_to_the_end(broken, &said), fold);
  EXPECT_NE(said.find("resuming after epoch 2 of 3"), std::string::npos) << said;
  EXPECT_EQ(said.find("same bits"), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(fold / ".metvox-1-2-3.tmp"));
  EXPECT_EQ(metrics_without_times(fold), expected);
  EXPECT_TRUE(read_text(fold / "metrics.jsonl").starts_with(before)) << "the times of finished epochs are lost";
  for (const char* name : {"checkpoint_final.safetensors", "checkpoint_best.safetensors"})
    EXPECT_EQ(read_bytes(fold / name), read_bytes(whole / name)) << name;
}

// Batches are augmented where the step runs.
TEST(trainer, an_epoch_on_sim_is_that_of_the_cpu) {
  const Path data = preprocessed("sim_data");
  const auto losses = [&](Device device, const char* results) {
    TrainRequest r = request_for(data, results);
    r.iterations = 3;
    r.val_iterations = 1;
    r.target.device = device;
    run_until(r, 0);
    const Json line = metrics_without_times(Trainer(r).fold_folder()).at(0);
    return std::pair{line.at("train_loss").get<double>(), line.at("val_loss").get<double>()};
  };
  const auto cpu = losses({}, "on_cpu"), sim = losses({Device::Kind::sim}, "on_sim");
  // Images differ by some 1e-6, the few layers by 1e-5 (device_training_test.cpp).
  EXPECT_NEAR(sim.first, cpu.first, 1e-5 * (1 + std::abs(cpu.first)));
  EXPECT_NEAR(sim.second, cpu.second, 1e-5 * (1 + std::abs(cpu.second)));
}

TEST(trainer, a_log_that_is_lost_costs_its_times_only) {
  const Path data = preprocessed("lost_data");
  const auto expected = metrics_without_times(run_to_the_end(request_for(data, "lost_whole")));
  TrainRequest broken = request_for(data, "lost");
  run_until(broken, 1);
  const Path log = Trainer(broken).fold_folder() / "metrics.jsonl";
  write_text(log, "{\"seconds\": 7}\n{\"epo");
  broken.resume = true;
  const Path fold = run_to_the_end(broken);
  EXPECT_EQ(metrics_without_times(fold), expected);
  std::istringstream text(read_text(log));
  std::vector<Json> seconds;
  for (std::string line; std::getline(text, line);) seconds.push_back(Json::parse(line).at("seconds"));
  ASSERT_EQ(seconds.size(), 3u);
  EXPECT_EQ(seconds[0], 7);
  EXPECT_TRUE(seconds[1].is_null());
  EXPECT_TRUE(seconds[2].is_number());
  EXPECT_EQ(expected[0].at("epoch"), 1);
}

TEST(trainer, a_damaged_checkpoint_is_said_with_what_is_left) {
  const Path data = preprocessed("damaged_data");
  TrainRequest request = request_for(data, "damaged");
  run_until(request, 1);
  const Path fold = Trainer(request).fold_folder(), latest = fold / "checkpoint_latest.safetensors",
             best = fold / "checkpoint_best.safetensors";
  request.resume = true;
  const auto refusal = [&]() -> std::string {
    try {
      Trainer(request).run({});
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return e.what();
    }
    return "none";
  };
  const auto cut = [](const Path& path) { std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2); };
  cut(latest);
  const std::string with_best = refusal();
  EXPECT_NE(with_best.find(latest.string() + ": is damaged"), std::string::npos) << with_best;
  EXPECT_NE(with_best.find("goes on from " + best.string()), std::string::npos) << with_best;
  EXPECT_NE(with_best.find("--overwrite"), std::string::npos) << with_best;
  const Bytes whole = read_bytes(best);
  cut(best);
  const std::string without = refusal();
  EXPECT_EQ(without.find(best.string()), std::string::npos) << without;
  EXPECT_NE(without.find("--overwrite"), std::string::npos) << without;
  // The advice holds.
  write_bytes(best, whole);
  std::filesystem::remove(latest);
  EXPECT_EQ(metrics_without_times(run_to_the_end(request)).size(), 3u);
}

// Adam's moments and step count are in the checkpoint too; of SegResNet everything is taken over, the head as well.
TEST(trainer, segresnet_is_resumed_to_the_bit_and_hands_on_its_head) {
  const Path data = preprocessed("segresnet_data");
  Plans plans = small_plans();
  plans.configurations[0].architecture.features_per_stage = {8, 16};
  write_json(data / "plans.json", to_json(plans));
  const auto request = [&](const char* name) {
    TrainRequest r = request_for(data, name);
    r.network = "segresnet";
    r.epochs = 2;
    return r;
  };
  const Path whole = run_to_the_end(request("segresnet_whole")) / "checkpoint_final.safetensors";
  TrainRequest broken = request("segresnet_broken");
  run_until(broken, 0);
  broken.resume = true;
  EXPECT_EQ(read_bytes(run_to_the_end(broken) / "checkpoint_final.safetensors"), read_bytes(whole));

  TrainRequest tuned = request("segresnet_tuned");
  tuned.pretrained = whole;
  tuned.lr = 0;
  std::string said;
  const SafeTensors a = read_safetensors(whole),
                    b = read_safetensors(run_to_the_end(tuned, &said) / "checkpoint_final.safetensors");
  EXPECT_NE(said.find("83 tensors taken"), std::string::npos) << said;
  EXPECT_EQ(said.find("anew"), std::string::npos) << said;
  const std::string head = "conv_final.2.conv.weight";
  EXPECT_EQ(std::memcmp(a.tensors.at(head).view().data, b.tensors.at(head).view().data, a.tensors.at(head).bytes()), 0);
}

TEST(trainer, learns_and_ends_with_the_folds_validation) {
  const Path data = preprocessed("learns_data");
  TrainRequest request = request_for(data, "learns");
  request.epochs = 6;
  request.iterations = 25;
  const Path fold = run_to_the_end(request);
  const auto lines = metrics_without_times(fold);
  EXPECT_LT(lines.back().at("train_loss").get<double>(), lines.front().at("train_loss").get<double>());
  EXPECT_GT(lines.back().at("mean_dice").get<double>(), 0.5);
  const Json summary = read_json(fold / "validation" / "summary.json");
  EXPECT_GT(summary.at("foreground_mean").at("Dice").get<double>(), 0.5);
  const Json splits = read_json(data / "splits_final.json");
  for (const Json& id : splits[0].at("val"))
    EXPECT_TRUE(std::filesystem::exists(fold / "validation" / (id.get<std::string>() + ".nii.gz")));
  const ModelFolder model = open_model(fold.parent_path());
  EXPECT_EQ(model.folds, (std::vector<std::string>{"0"}));
}

TEST(trainer, resuming_a_finished_run_does_nothing_and_a_missing_one_starts) {
  const Path data = preprocessed("finished_data");
  TrainRequest request = request_for(data, "finished");
  request.resume = true;
  std::string said;
  const Path fold = run_to_the_end(request, &said);
  EXPECT_NE(said.find("starts from the beginning"), std::string::npos);
  const auto before = std::filesystem::last_write_time(fold / "checkpoint_final.safetensors");
  said.clear();
  run_to_the_end(request, &said);
  EXPECT_NE(said.find("is finished"), std::string::npos);
  EXPECT_EQ(std::filesystem::last_write_time(fold / "checkpoint_final.safetensors"), before);
  // Only the validation was lost: only that is done again.
  std::filesystem::remove(fold / "validation" / "summary.json");
  run_to_the_end(request);
  EXPECT_TRUE(std::filesystem::exists(fold / "validation" / "summary.json"));
  EXPECT_EQ(std::filesystem::last_write_time(fold / "checkpoint_final.safetensors"), before);
}

TEST(trainer, a_finished_run_is_whole_and_as_asked_for) {
  const Path data = preprocessed("asked_data");
  TrainRequest request = request_for(data, "asked");
  const Path final = run_to_the_end(request) / "checkpoint_final.safetensors";
  const auto refused = [&](const TrainRequest& r) -> std::string {
    try {
      run_to_the_end(r);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  request.resume = true;
  TrainRequest longer = request;
  longer.epochs += 3;
  const std::string text = sentence("epochs is ", request.epochs, " there and ", longer.epochs, " here");
  EXPECT_NE(refused(longer).find(text), std::string::npos) << refused(longer);
  std::filesystem::resize_file(final, std::filesystem::file_size(final) / 2);
  EXPECT_NE(refused(request).find("checkpoint_final.safetensors"), std::string::npos) << refused(request);
}

TEST(trainer, resume_says_what_differs) {
  const Path data = preprocessed("differs_data");
  TrainRequest request = request_for(data, "differs");
  run_until(request, 0);
  request.resume = true;
  request.seed = 18;
  std::string said;
  run_to_the_end(request, &said);
  EXPECT_NE(said.find("seed is 17 there and 18 here: what follows"), std::string::npos) << said;
}

TEST(trainer, exclusive_labels_train_with_softmax) {
  const Path data = preprocessed("labels_data", false);
  TrainRequest request = request_for(data, "labels");
  const Path fold = run_to_the_end(request);
  EXPECT_EQ(fold.parent_path().filename(), "nnunet__dice-ce__3d_fullres");
  EXPECT_EQ(metrics_without_times(fold).back().at("dice").size(), 2u);
  request.loss = "dice-bce";
  EXPECT_THROW(Trainer{request}, Error);
}

TEST(trainer, flat_patches_train_on_slices) {
  const Path data = preprocessed("flat_data");
  Plans plans = small_plans();
  Configuration& c = plans.configurations[0];
  c.name = "2d";
  c.patch_size = {16, 16};
  c.spacing_mm = {1, 1};
  c.median_image_size = {24, 24};
  c.architecture.kernel_sizes = {{1, 3, 3}, {1, 3, 3}};
  c.architecture.strides = {{1, 1, 1}, {1, 2, 2}};
  write_json(data / "plans.json", to_json(plans));
  TrainRequest request = request_for(data, "flat");
  request.configuration = "2d";
  request.epochs = 1;
  EXPECT_EQ(metrics_without_times(run_to_the_end(request)).size(), 1u);
}

TEST(trainer, a_loss_that_is_not_finite_stops_the_run) {
  const Path data = preprocessed("infinite_data");
  TrainRequest request = request_for(data, "infinite");
  run_until(request, 0);
  request.resume = true;
  request.lr = 1e30;
  Trainer trainer(request);
  try {
    trainer.run({});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is not finite"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("epoch 2, iteration"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(std::filesystem::exists(trainer.fold_folder() / "checkpoint_latest.safetensors"));
}

TEST(trainer, pretrained_weights_are_taken_but_for_the_heads) {
  const Path data = preprocessed("pretrained_data");
  TrainRequest request = request_for(data, "pretrained_source");
  const Path source = run_to_the_end(request) / "checkpoint_final.safetensors";
  TrainRequest tuned = request_for(data, "pretrained_tuned");
  tuned.pretrained = source;
  tuned.lr = 0;
  tuned.epochs = 1;
  const SafeTensors a = read_safetensors(source),
                    b = read_safetensors(run_to_the_end(tuned) / "checkpoint_final.safetensors");
  const auto same = [&](const std::string& name) {
    const Tensor &x = a.tensors.at(name), &y = b.tensors.at(name);
    return std::memcmp(x.view().data, y.view().data, x.bytes()) == 0;
  };
  EXPECT_TRUE(same("encoder.stages.0.0.convs.0.conv.weight"));
  EXPECT_FALSE(same("decoder.seg_layers.0.weight"));
}

TEST(trainer, pretrained_weights_that_do_not_fit_leave_the_model_alone) {
  const Path data = preprocessed("misfit_data");
  TrainRequest request = request_for(data, "misfit");
  request.epochs = 1;
  const Path final_checkpoint = run_to_the_end(request) / "checkpoint_final.safetensors";
  request.overwrite = true;
  request.pretrained = request.results / "other.safetensors";
  write_safetensors(request.pretrained, {}, {});
  EXPECT_THROW(Trainer(request).run({}), Error);
  EXPECT_TRUE(std::filesystem::exists(final_checkpoint));
  EXPECT_TRUE(std::filesystem::exists(final_checkpoint.parent_path() / "validation" / "summary.json"));
  request.pretrained = final_checkpoint.parent_path() / ".." / "fold_0" / "checkpoint_final.safetensors";
  try {
    Trainer trainer(request);
    FAIL() << "the model itself was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::usage);
  }
  EXPECT_TRUE(std::filesystem::exists(final_checkpoint));
}

TEST(trainer, resume_validates_what_is_missing_and_says_which_folds_hold) {
  const Path data = preprocessed("missing_data");
  TrainRequest request = request_for(data, "missing");
  request.epochs = 1;
  { const Trainer only_made(request); }
  EXPECT_FALSE(std::filesystem::exists(data / "splits_final.json"));
  request.fold = "00";
  const Path fold = run_to_the_end(request);
  EXPECT_EQ(fold.filename(), "fold_0");
  request.resume = true;
  const Path mask =
      fold / "validation" / (read_json(data / "splits_final.json")[0].at("val")[0].get<std::string>() + ".nii.gz");
  std::filesystem::remove(mask);
  // Another fold under way, its checkpoint broken: no matter.
  std::filesystem::create_directories(fold.parent_path() / "fold_1");
  write_text(fold.parent_path() / "fold_1" / "checkpoint_final.safetensors", "broken");
  request.group_by = GroupBy::none;
  std::string said;
  run_to_the_end(request, &said);
  EXPECT_TRUE(std::filesystem::exists(mask));
  EXPECT_NE(said.find("--group-by changes nothing"), std::string::npos) << said;
}

TEST(trainer, what_was_trained_is_replaced_only_when_told_to) {
  const Path data = preprocessed("replace_data");
  TrainRequest request = request_for(data, "replace");
  request.save_every = 2;
  run_until(request, 0);  // leaves checkpoint_best alone
  const Path fold = Trainer(request).fold_folder(), best = fold / "checkpoint_best.safetensors";
  ASSERT_TRUE(std::filesystem::exists(best));
  const auto refused = [&] {
    const Bytes before = read_bytes(best);
    try {
      Trainer(request).run({});
      ADD_FAILURE() << "replaced";
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::usage);
      const std::string text = e.what();
      EXPECT_NE(text.find("--resume"), std::string::npos) << text;
      EXPECT_NE(text.find("--overwrite"), std::string::npos) << text;
    }
    EXPECT_EQ(read_bytes(best), before);
  };
  refused();
  request.overwrite = true;
  run_to_the_end(request);
  request.overwrite = false;
  refused();
}

TEST(trainer, validation_tells_every_case_that_failed) {
  const Path data = preprocessed("failed_data");
  TrainRequest request = request_for(data, "failed");
  request.epochs = 1;
  const Path fold = run_to_the_end(request), out = fold / "validation";
  const Json ids = read_json(data / "splits_final.json")[0].at("val");
  const auto again = [&] {
    std::filesystem::remove_all(out);
    request.resume = true;
    return Trainer(request).run({});
  };
  // The labels of all of them are torn: no summary of nothing.
  for (const Json& id : ids) write_text(data / "gt_segmentations" / (id.get<std::string>() + ".nii.gz"), "torn");
  EXPECT_EQ(again().size(), ids.size());
  EXPECT_FALSE(std::filesystem::exists(out / "summary.json"));
  std::filesystem::remove_all(data / "gt_segmentations");
  const auto faults = again();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].find("the labels to validate against are missing"), std::string::npos) << faults[0];
}

TEST(trainer, memory_is_known_before_the_run) {
  const Path data = preprocessed("memory_data");
  const Trainer trainer(request_for(data, "memory"));
  const TrainMemory m = trainer.memory();
  EXPECT_GT(m.learner.arena, 0u);
  EXPECT_GE(m.learner.arena, m.learner.validation_arena);
  EXPECT_EQ(m.learner.weights, m.learner.optimizer);
  EXPECT_TRUE(m.cases_resident);
  EXPECT_GT(m.cases, 6u * 2 * 24 * 24 * 24 * 4);
  EXPECT_GT(m.final_validation, 0u);
  // Ring and workers: a patch of 2 channels and labels, batch 2.
  const size_t batch = 2 * 16 * 16 * 16 * (2 * 4 + 1), patch = 16 * 16 * 16 * (3 * 4 + 1);
  EXPECT_EQ(m.loader, 4 * batch + 2 * patch);
}

TEST(trainer, moving_average_and_best_follow_nnunet) {
  const Path data = preprocessed("ema_data");
  const Path fold = run_to_the_end(request_for(data, "ema"));
  const auto lines = metrics_without_times(fold);
  double ema = lines[0].at("mean_dice").get<double>(), best = ema;
  for (size_t i = 1; i < lines.size(); ++i) {
    ema = 0.9 * ema + 0.1 * lines[i].at("mean_dice").get<double>();
    best = std::max(best, ema);
    EXPECT_DOUBLE_EQ(lines[i].at("ema_dice").get<double>(), ema);
    EXPECT_DOUBLE_EQ(lines[i].at("lr").get<double>(), 0.01 * std::pow(1 - static_cast<double>(i) / 3, 0.9));
  }
  const auto facts = read_safetensors_header(fold / "checkpoint_final.safetensors").metadata.at("metvox");
  EXPECT_DOUBLE_EQ(Json::parse(facts).at("best_ema_dice").get<double>(), best);
}

}  // namespace metvox
