// SPDX-License-Identifier: Apache-2.0
// Ranks that train on parts of a batch make the steps of one rank with the whole batch.
#include <gtest/gtest.h>

#include "autograd/ops/cast.h"
#include "kernels/collective.h"
#include "kernels/pointwise.h"
#include "layers/loss.h"
#include "layers/modules.h"
#include "layers/optimizer.h"
#include "tensor/threads.h"
#include "tests/support/mixed.h"

namespace metvox {
namespace {

constexpr int64_t kSamples = 4, kVoxels = 4 * 4 * 6;  // of the whole batch; of a sample

// Where the ranks run, how exactly, and for how many steps.
struct Place {
  Device device{};
  DType dtype = DType::f64;
  std::string engine = "reference";
  double eps = 0x1p-52;
  int steps = 10;
};

struct Case {
  std::string loss;
  bool batch_dice;
  int ignore_label = -1;
};

// Two resolutions, with a head at each.
class Net {
 public:
  Net(ParameterStore& store, int heads)
      : top_(store, "top", 2, 4, {3, 3, 3}, {1, 1, 1}),
        deep_(store, "deep", 4, 6, {3, 3, 3}, {2, 2, 2}),
        up_(store, "up", 6, 4, {2, 2, 2}),
        join_(store, "join", 8, 4, {3, 3, 3}, {1, 1, 1}),
        head_(store, "head", 4, heads, {1, 1, 1}, {1, 1, 1}),
        deep_head_(store, "deep_head", 6, heads, {1, 1, 1}, {1, 1, 1}) {}
  std::vector<Value> operator()(Value x) const {
    const Value a = top_(x), b = deep_(a);
    return {head_(join_(up_(b), a)), deep_head_(b)};
  }

 private:
  ConvNormAct top_, deep_;
  ConvTranspose3d up_;
  ConvNormAct join_;
  Conv3d head_, deep_head_;
};

// Samples [first, first + count) of the batch of a step. Some have far fewer labelled voxels than others.
void fill_batch(int step, int64_t first, int64_t count, double* images, uint8_t* labels) {
  for (int64_t i = 0; i < count * kVoxels; ++i) {
    const int64_t n = first + i / kVoxels, at = (step * kSamples + n) * kVoxels + i % kVoxels;
    for (int c = 0; c < 2; ++c) images[2 * i + c] = test::mixed(2 * at + c, "images") + 0.3 * static_cast<double>(n);
    const double u = test::mixed(at, "labels"), rare = 0.2 + 0.25 * static_cast<double>(n);
    labels[i] = static_cast<uint8_t>(u > rare ? 1 + (u > 0.9) : u < -0.95 ? 3 : 0);
  }
}

struct Trained {
  std::vector<double> weights, result;  // the last step's result
};

// On the only thread of each rank.
Trained train(const Case& kind, const Place& place, Communicator* ranks) {
  set_threads(1);
  const int64_t count = ranks ? kSamples / ranks->size() : kSamples, first = ranks ? ranks->rank() * count : 0;
  RegionTable heads;
  const SegmentationLoss& loss = find_loss(kind.loss);
  heads.count = 3;
  heads.labels = loss.softmax ? decltype(heads.labels){1, 2, 4} : decltype(heads.labels){0b0110, 0b0010, 0b0100};
  ParameterStore store(place.dtype, place.device);
  const Net net(store, heads.count);
  store.initialize(1);
  Graph graph;
  const Value images = graph.input("images", {{count, 2, 4, 4, 6}, Kind::activation}),
              labels = graph.input("labels", {{count, 4, 4, 6}, Kind::labels});
  const Value y = segmentation_loss(net(images), labels, loss, heads, DeepSupervision{{0.75, 0.25}}, kind.batch_dice,
                                    kind.ignore_label);
  Program program(graph, {y}, Mode::train, {place.device, place.dtype, place.engine, ranks}, store.buffers(Mode::train),
                  std::make_shared<Arena>(place.device));
  OptimizerOptions options;
  options.rules.max_norm = 0.5;  // clips
  const auto optimizer = make_optimizer("sgd", store, options);
  const Tensor image_batch = Tensor::empty(images.shape(), DType::f64),
               label_batch = Tensor::empty(labels.shape(), DType::u8);
  Stream stream(place.device);
  for (int step = 0; step < place.steps; ++step) {
    fill_batch(step, first, count, image_batch.data<double>(), label_batch.data<uint8_t>());
    program.set(stream, images, image_batch.view());
    program.set(stream, labels, label_batch.view());
    program.run(stream);
    optimizer->set_lr(stream, 0.02);
    optimizer->step(stream, store, program.trained());
  }
  Trained trained;
  Stream host;
  const auto append = [&](std::vector<double>& to, const Tensor& from) {
    const Tensor numbers = Tensor::empty(from.shape(), DType::f64);
    convert(host, from.view(), numbers.view());
    to.insert(to.end(), numbers.data<double>(), numbers.data<double>() + numbers.size());
  };
  for (const Parameter& p : store.parameters()) append(trained.weights, store.read(p));
  append(trained.result, program.read(stream, y));
  return trained;
}

void expect_same(const std::vector<double>& got, const std::vector<double>& expected, double limit) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], limit * std::max(1.0, std::abs(expected[i])));
}

class ranks : public testing::TestWithParam<Case> {};

void expect_the_steps_of_one_rank(const Case& kind, const Place& place, std::initializer_list<int> sizes) {
  Trained alone;
  run_ranks(1, [&](Communicator&) { alone = train(kind, place, nullptr); });
  // Gradients are the same sums in another order; each step adds some roundings of sqrt(terms) eps, of numbers of the
  // size of 1, and carries those of the steps before.
  const double limit = 8 * place.eps * std::sqrt(static_cast<double>(kSamples * kVoxels)) * place.steps;
  for (int size : sizes) {
    std::vector<Trained> each(size);
    run_ranks(size, [&](Communicator& rank) { each[rank.rank()] = train(kind, place, &rank); });
    for (const Trained& rank : each) {
      expect_same(rank.weights, alone.weights, limit);
      expect_same(rank.result, alone.result, limit);
      EXPECT_EQ(rank.weights, each[0].weights);
    }
  }
}

TEST_P(ranks, make_the_steps_of_one_rank_with_the_whole_batch) { expect_the_steps_of_one_rank(GetParam(), {}, {2, 4}); }

TEST(ranks_on_sim, make_the_steps_of_one_rank_with_the_whole_batch) {
  const Place sim{{Device::Kind::sim}, DType::f32, "", 0x1p-23, 4};
  for (const bool batch_dice : {true, false}) expect_the_steps_of_one_rank({"dice-bce", batch_dice}, sim, {2});
}

std::string kind_name(const testing::TestParamInfo<Case>& test) {
  std::string name = test.param.loss + (test.param.batch_dice ? "_batch" : "_sample");
  if (test.param.ignore_label >= 0) name += "_ignore";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(losses, ranks,
                         testing::Values(Case{"dice-bce", true}, Case{"dice-bce", false}, Case{"dice-bce", true, 3},
                                         Case{"dice-ce", true}, Case{"dice-ce", false, 3}, Case{"tversky-bce", false}),
                         kind_name);

}  // namespace
}  // namespace metvox
