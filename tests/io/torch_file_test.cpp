// SPDX-License-Identifier: Apache-2.0
// Files of PyTorch itself (tests/golden/make_torch.py), and forged ones.
#include "io/torch_file.h"

#include <cstring>

#include "../support/mixed.h"
#include "io_testing.h"

namespace metvox {
namespace {

const Path kGolden = Path(METVOX_SOURCE_DIR) / "tests" / "golden" / "torch";

double value(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::f64: return t.data<double>()[i];
    case DType::f32: return static_cast<double>(t.data<float>()[i]);
    case DType::f16: return static_cast<double>(static_cast<float>(t.data<f16>()[i]));
    case DType::bf16: return static_cast<double>(static_cast<float>(t.data<bf16>()[i]));
    default: ADD_FAILURE() << name_of(t.dtype()); return 0;
  }
}

// The tensor of values.pth whose element i is the element index(i) of the base (4, 6), rounded to `eps`.
template <class Index>
void expect_base(const std::string& name, const Shape& shape, double eps, Index index) {
  TorchFile file(kGolden / "values.pth");
  const auto weights = file.root().find("network_weights");
  ASSERT_TRUE(weights && weights->find(name)) << name;
  const Tensor t = file.read(weights->find(name)->tensor(), name);
  ASSERT_EQ(t.shape(), shape) << name;
  for (int64_t i = 0; i < t.size(); ++i) {
    const double expected = test::mixed(index(i), "base");
    EXPECT_NEAR(value(t, i), expected, eps * std::abs(expected)) << name << ' ' << i;
  }
}

// A torch file around a pickle, with one storage of eight bytes.
std::string refusal_of_pickle(const std::string& pickle) {
  const Scratch dir;
  ZipWriter zip(dir / "x.pth");
  zip.add("x/data.pkl", pickle.data(), pickle.size());
  const float numbers[2] = {1, 2};
  zip.add("x/data/0", numbers, sizeof numbers);
  zip.commit();
  return refusal([&] {
    TorchFile file(dir / "x.pth");
    const auto weights = file.root().find("w");
    if (weights) file.read(weights->tensor(), "w");
    else file.root().json();
  });
}

testing::AssertionResult pickle_refused(const std::string& pickle, const std::string& part) {
  const std::string text = refusal_of_pickle(pickle);
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected a refusal with \"" << part << "\", got \"" << text << '"';
}

std::string length32(uint32_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }
std::string text(const std::string& s) { return "X" + length32(static_cast<uint32_t>(s.size())) + s; }
std::string number(int32_t v) { return "J" + length32(static_cast<uint32_t>(v)); }

// {"w": a tensor of that storage, first element, shape and stride}
std::string tensor_pickle(const std::string& storage_class, int32_t elements, int32_t first, const std::string& shape,
                          const std::string& strides, const std::string& key = "0") {
  return "\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "c" + storage_class +
         "\n" + text(key) + text("cpu") + number(elements) + "tQ" + number(first) + "(" + shape + "t(" + strides +
         "t\x89" + "ccollections\nOrderedDict\n)RtRs.";
}

}  // namespace

TEST(torch_file, reads_tensors_of_every_layout) {
  const auto same = [](int64_t i) { return i; };
  expect_base("dense", {4, 6}, 0x1p-24, same);
  expect_base("double", {4, 6}, 0, same);
  expect_base("half", {4, 6}, 0x1p-11, same);
  expect_base("bfloat16", {4, 6}, 0x1p-8, same);
  expect_base("transposed", {6, 4}, 0x1p-24, [](int64_t i) { return i % 4 * 6 + i / 4; });
  expect_base("row", {6}, 0x1p-24, [](int64_t i) { return 12 + i; });
  expect_base("every_other", {4, 3}, 0x1p-24, [](int64_t i) { return i / 3 * 6 + 1 + 2 * (i % 3); });
  expect_base("parameter", {1, 6}, 0x1p-24, same);
  TorchFile file(kGolden / "values.pth");
  const auto weights = file.root().find("network_weights");
  EXPECT_EQ(value(file.read(weights->find("scalar")->tensor(), "scalar"), 0), .5);
  EXPECT_EQ(file.read(weights->find("empty")->tensor(), "empty").shape(), Shape({0, 3}));
  EXPECT_TRUE(refused([&] { file.read(weights->find("counts")->tensor(), "counts"); }, "counts is of type Long"));
}

TEST(torch_file, reads_values) {
  const TorchFile file(kGolden / "values.pth");
  const PickleValue root = file.root();
  EXPECT_EQ(root.find("logging")->json(), Json::parse(R"({"losses": [1.5, -2.25, 3.5], "best": null,
                                                          "means": [0.0, 0.5, 1.0]})"));
  EXPECT_EQ(root.find("init_args")->json(),
            Json::parse(R"({"fold": 0, "device": "cuda", "labels": {"a": [1, 2], "b": [3, -4]}, "deep": true})"));
  EXPECT_EQ(root.find("integers")->json(), Json::parse("[1099511627776, -1099511627776, 255, 65535, -7, 9, true]"));
  EXPECT_EQ(root.find("letters")->text(), "ß∂");
  EXPECT_EQ(root.find("module")->entries().size(), 2u);
  EXPECT_FALSE(root.find("absent"));
  EXPECT_TRUE(refused([&] { root.json(); }, "is not numbers, text, lists and dicts alone"));
  EXPECT_TRUE(refused([&] { root.find("letters")->tensor(); }, "letters: is not a tensor"));
}

TEST(torch_file, refuses_by_name_what_is_no_data) {
  EXPECT_TRUE(refused([] { TorchFile(kGolden / "command.pth"); }, "asks for posix.system"));
  EXPECT_TRUE(refused([] { TorchFile(kGolden / "legacy.pt"); }, "before 1.6"));
  EXPECT_TRUE(refused([] { TorchFile(kGolden / "script.pt"); }, "TorchScript"));
  EXPECT_TRUE(
      pickle_refused("\x80\x02"
                     "cos\nsystem\n(" +
                         text("true") + "tR.",
                     "asks for os.system"));
  EXPECT_TRUE(
      pickle_refused("\x80\x04\x8c\x08"
                     "builtins\x8c\x04"
                     "eval\x93.",
                     "asks for builtins.eval"));
  EXPECT_TRUE(pickle_refused("\x80\x02(ios\nsystem\n.", "asks for os.system"));
  EXPECT_TRUE(pickle_refused("\x80\x02(o.", "asks for the opcode OBJ"));
  EXPECT_TRUE(pickle_refused("\x80\x02\x82\x01.", "asks for the opcode EXT1"));
  EXPECT_TRUE(
      pickle_refused("\x80\x02"
                     "cnumpy\nndarray\n)R.",
                     "asks for a call of numpy.ndarray"));
  EXPECT_TRUE(
      pickle_refused("\x80\x02"
                     "ctorch\nQInt8Storage\n.",
                     "asks for torch.QInt8Storage"));
  EXPECT_TRUE(
      pickle_refused("\x80\x02"
                     "cmonai.data.meta_tensor\nMetaTensor\n.",
                     "MetaTensor"));
  EXPECT_TRUE(pickle_refused("\x80\x06N.", "protocol 6"));
}

TEST(torch_file, refuses_tensors_beyond_their_storage) {
  const std::string two = number(2), one = number(1);
  EXPECT_EQ(refusal_of_pickle(tensor_pickle("torch\nFloatStorage", 2, 0, two, one)), "");
  const auto beyond = [](const std::string& pickle) { return pickle_refused(pickle, "reaches beyond its storage"); };
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, 1, two, one)));
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, -1, two, one)));
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, 0, two, number(-1))));
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, 0, two, two)));
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, 0, number(1 << 30), number(0))));
  EXPECT_TRUE(beyond(tensor_pickle("torch\nFloatStorage", 2, 0, two, one + one)));
  EXPECT_TRUE(
      pickle_refused(tensor_pickle("torch\nFloatStorage", 9, 0, two, one), "has 8 bytes, but its pickle says 36"));
  EXPECT_TRUE(
      pickle_refused(tensor_pickle("torch\nDoubleStorage", 2, 0, two, one), "has 8 bytes, but its pickle says 16"));
  EXPECT_TRUE(pickle_refused(tensor_pickle("torch\nFloatStorage", 2, 0, two, one, "../0"), "lacks x/data/../0"));
  std::string many;
  for (int i = 0; i < 17; ++i) many += one;
  EXPECT_TRUE(pickle_refused(tensor_pickle("torch\nFloatStorage", 2, 0, many, many), "shape of 17 extents"));
}

TEST(torch_file, refuses_pickles_that_would_take_the_machine) {
  // A list that holds itself, one nested beyond measure, and lists of lists of lists that a reader would unfold.
  EXPECT_TRUE(
      pickle_refused("\x80\x02]q\x01h\x01"
                     "a.",
                     "of a size that a checkpoint has"));
  EXPECT_TRUE(pickle_refused("\x80\x02" + std::string(1000, ']') + std::string(999, 'a') + ".", "of a size"));
  std::string laughs = "\x80\x02]";
  for (int i = 0; i < 40; ++i)
    laughs +=
        "q\x01](h\x01h\x01"
        "e";
  EXPECT_TRUE(pickle_refused(laughs + ".", "of a size that a checkpoint has"));
  EXPECT_TRUE(pickle_refused("\x80\x02" + std::string(1'500'000, 'N') + ".", "more than 1000000 values"));
  EXPECT_TRUE(pickle_refused("\x80\x02" + std::string(1'500'000, '(') + ".", "piles up"));
  EXPECT_TRUE(pickle_refused("\x80\x02N" + std::string(1'500'000, '2') + ".", "piles up"));
  // Text that is encoded over and over.
  std::string echoes = "\x80\x02" + text(std::string(100'000, 'x')) + "q\x01" + text("latin1") + "q\x02";
  for (int i = 0; i < 40; ++i) echoes += "c_codecs\nencode\nh\x01h\x02\x86R";
  EXPECT_TRUE(pickle_refused(echoes + ".", "makes more text"));
  EXPECT_TRUE(
      pickle_refused("\x80\x02X\xff\xff\xff\xff"
                     "abc.",
                     "it ends where 4294967295 more bytes should follow"));
}

TEST(torch_file, refuses_pickles_that_are_damaged) {
  for (const char* pickle : {"", "\x80\x02", "\x80\x02.", "\x80\x02h\x07.", "\x80\x02t.", "\x80\x02Na.",
                             "\x80\x02}NNNe.", "\x80\x02}(Nu.", "\x80\x02NNR.", "\x80\x02NQ.", "\x80\x02NNb.",
                             "\x80\x02\x8a\x09"
                             "123456789.",
                             "\x80\x02(.",
                             "\x80\x02"
                             "cos"})
    EXPECT_NE(refusal_of_pickle(pickle), "") << pickle;
}

TEST(torch_file, reads_what_it_writes) {
  const Scratch dir;
  Tensor a = Tensor::empty({2, 3}, DType::f32), b = Tensor::empty({4}, DType::f32);
  for (int64_t i = 0; i < 6; ++i) a.data<float>()[i] = static_cast<float>(i);
  for (int64_t i = 0; i < 4; ++i) b.data<float>()[i] = -static_cast<float>(i);
  const Json others = Json::parse(R"({"name": "x", "list": [1, -2.5, true, null, 5000000000], "in": {"a": {}}})");
  write_torch_file(dir / "x.pth", "weights", {{"a", a.view()}, {"b", b.view()}, {"again", a.view()}}, others);
  TorchFile file(dir / "x.pth");
  for (const auto& [key, value] : others.items()) EXPECT_EQ(file.root().find(key)->json(), value) << key;
  const auto weights = file.root().find("weights");
  ASSERT_EQ(weights->entries().size(), 3u);
  EXPECT_EQ(weights->find("a")->tensor().storage, weights->find("again")->tensor().storage);
  for (const auto& [name, from] : {std::pair{"a", a}, {"b", b}, {"again", a}}) {
    const Tensor back = file.read(weights->find(name)->tensor(), name);
    EXPECT_EQ(back.shape(), from.shape());
    EXPECT_EQ(std::memcmp(back.view().data, from.view().data, from.bytes()), 0) << name;
  }
}

}  // namespace metvox
