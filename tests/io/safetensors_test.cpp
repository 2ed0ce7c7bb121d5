// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <cstring>

#include "io_testing.h"

namespace metvox {
namespace {

// A file with this header and `data_bytes` zeros after it.
Path file(const Scratch& scratch, const std::string& header, size_t data_bytes) {
  std::string text(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(text.data(), &size, 8);
  write_text(scratch / "a.safetensors", text + header + std::string(data_bytes, '\0'));
  return scratch / "a.safetensors";
}

testing::AssertionResult header_refused(const std::string& header, size_t data_bytes, const std::string& part) {
  Scratch scratch;
  const Path path = file(scratch, header, data_bytes);
  return refused([&] { read_safetensors_header(path); }, part);
}

}  // namespace

TEST(safetensors, every_dtype_comes_back) {
  Scratch scratch;
  std::vector<Tensor> tensors;
  std::vector<NamedView> views;
  for (DType dtype : {DType::f64, DType::u8, DType::f32, DType::i8, DType::f16, DType::bf16, DType::i16, DType::i32}) {
    tensors.push_back(Tensor::empty({2, 1, 3}, dtype));
    for (size_t n = 0; n < tensors.back().bytes(); ++n)
      static_cast<uint8_t*>(tensors.back().view().data)[n] = static_cast<uint8_t>(3 * n + 1);
    views.push_back({"x." + std::string(name_of(dtype)), tensors.back().view()});
  }
  const Tensor scalar = Tensor::zeros({}, DType::f32), nothing = Tensor::zeros({0, 4}, DType::f32);
  views.push_back({"scalar", scalar.view()});
  views.push_back({"nothing", nothing.view()});
  const std::map<std::string, std::string> metadata{{"plan", "{\"a\": 1}"}, {"labels", "µ"}};
  write_safetensors(scratch / "a", views, metadata);

  const SafeTensors read = read_safetensors(scratch / "a");
  EXPECT_EQ(read.metadata, metadata);
  ASSERT_EQ(read.tensors.size(), views.size());
  const SafeTensorsHeader header = read_safetensors_header(scratch / "a");
  for (const auto& [name, view] : views) {
    const Tensor& tensor = read.tensors.at(name);
    EXPECT_EQ((Spec{tensor.shape(), tensor.dtype()}), (Spec{view.shape, view.dtype})) << name;
    EXPECT_EQ(std::memcmp(tensor.view().data, view.data, view.bytes()), 0) << name;
    EXPECT_EQ(header.specs.at(name), (Spec{view.shape, view.dtype})) << name;
  }
}

TEST(safetensors, data_begin_at_a_multiple_of_eight) {
  Scratch scratch;
  const Tensor x = Tensor::zeros({3}, DType::f32);
  for (const char* name : {"a", "ab", "abc"}) {
    write_safetensors(scratch / "a", {{name, x.view()}}, {});
    EXPECT_EQ((read_bytes(scratch / "a").size() - x.bytes()) % 8, 0u);
  }
}

TEST(safetensors, names_are_unique) {
  Scratch scratch;
  const Tensor x = Tensor::zeros({3}, DType::f32);
  EXPECT_THROW(write_safetensors(scratch / "a", {{"x", x.view()}, {"x", x.view()}}, {}), Error);
  EXPECT_THROW(write_safetensors(scratch / "a", {{"__metadata__", x.view()}}, {}), Error);
  EXPECT_EQ(scratch.files(), 0u);
}

TEST(safetensors, refuses_hostile_headers) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[0,8]"), 8, ""));  // the file that the others are variants of
  EXPECT_TRUE(header_refused("{\"x\":", 8, "its header is not JSON; put back a whole copy"));
  EXPECT_TRUE(header_refused("[]", 0, "its header is not a JSON object"));
  EXPECT_TRUE(header_refused("{\"x\":3}", 0, "the tensor \"x\": the key \"dtype\" is missing"));
  EXPECT_TRUE(header_refused(one("C64", "[1]", "[0,8]"), 8, "has the dtype C64, expected F64"));
  EXPECT_TRUE(header_refused(one("F32", "[1,1,1,1,1,2]", "[0,8]"), 8, "not a list of at most 5"));
  EXPECT_TRUE(header_refused(one("F32", "[-2]", "[0,8]"), 8, "which is no shape"));
  EXPECT_TRUE(header_refused(one("F32", "[2.0]", "[0,8]"), 8, "which is no shape"));
  EXPECT_TRUE(header_refused(one("F32", "[4611686018427387904,4]", "[0,0]"), 8, "which is no shape"));
  EXPECT_TRUE(header_refused(one("F32", "[0,18446744073709551615]", "[0,0]"), 0, "which is no shape"));
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[0,12]"), 8, "lies at bytes 0 to 12 of 8"));
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[8,0]"), 8, "lies at bytes 8 to 0"));
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[0]"), 8, "not two offsets"));
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[0,4]"), 8, "needs 8 bytes, its offsets give 4"));
  EXPECT_TRUE(header_refused(one("F32", "[1]", "[4,8]"), 8, "follows a hole"));
  EXPECT_TRUE(header_refused(one("F32", "[2]", "[0,8]"), 9, "9 bytes follow the header, its tensors have 8"));
  const std::string x = "\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}";
  EXPECT_TRUE(header_refused("{" + x + "," + x + "}", 2, "the key \"x\" is given twice"));
  EXPECT_TRUE(header_refused("{" + x + ",\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3,
                             "\"y\" overlaps another"));
  EXPECT_TRUE(header_refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ \"a\" is not a string"));
  EXPECT_TRUE(header_refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object"));
}

TEST(safetensors, refuses_lengths_that_the_file_does_not_have) {
  Scratch scratch;
  write_text(scratch / "short", "1234567");
  EXPECT_TRUE(refused([&] { read_safetensors(scratch / "short"); }, "too short"));
  write_text(scratch / "long", std::string(7, '\0') + "\x7f{}");
  EXPECT_TRUE(refused([&] { read_safetensors(scratch / "long"); },
                      "its header should have 9151314442816847872 bytes, but 2 follow; put back"));
  EXPECT_TRUE(refused([&] { read_safetensors(scratch / "none"); }, "No such file"));
  write_text(scratch / "zeros", std::string(4096, '\0'));
  EXPECT_TRUE(refused([&] { read_safetensors(scratch / "zeros"); }, "zeros: is damaged or no safetensors file"));
}

}  // namespace metvox
