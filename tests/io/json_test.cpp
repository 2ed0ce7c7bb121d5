// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include <cmath>

#include "io_testing.h"

namespace metvox {

TEST(json, comes_back_in_order) {
  Scratch scratch;
  const Json value{{"z", 0.1}, {"a", {1, -2, 3e300}}, {"m", nullptr}, {"text", "µ \" \n"}};
  write_json(scratch / "a.json", value);
  EXPECT_EQ(read_json(scratch / "a.json").dump(), value.dump());
}

TEST(json, non_finite_numbers_are_null) {
  EXPECT_EQ(json_text(Json{{"a", NAN}, {"b", INFINITY}, {"c", 1.5f}}, -1), R"({"a":null,"b":null,"c":1.5})");
}

TEST(json, broken_text_is_written) { EXPECT_EQ(json_text(Json("\xff"), -1), "\"\xef\xbf\xbd\""); }

TEST(json, errors_name_line_and_column) {
  Scratch scratch;
  write_text(scratch / "a.json", "{\n  \"a\": 1,\n  \"b\": 01\n}");
  EXPECT_TRUE(refused([&] { read_json(scratch / "a.json"); },
                      (scratch / "a.json").string() + ": line 3, column 9: syntax error"));
  EXPECT_TRUE(refused([] { parse_json("", "e.json"); }, "e.json: line 1, column 1: "));
  EXPECT_TRUE(refused([] { parse_json("{\"a\": 1, \"a\": 2}", "d.json"); }, "the key \"a\" is given twice"));
  EXPECT_TRUE(refused([] { parse_json(std::string(100000, '['), "n.json"); }, "nested deeper than 256"));
  EXPECT_TRUE(refused([] { parse_json("\"\xff\"", "u.json"); }, "u.json: line 1"));
  EXPECT_NO_THROW(parse_json(R"([{"a": {"a": 1}}, {"a": 1}])", "ok.json"));
}

TEST(json, get_converts_nothing_in_silence) {
  const Json value = parse_json(
      R"({"n": 3, "big": 300, "minus": -1, "half": 0.5, "yes": true, "list": [1, 2], "none": null})", "v.json");
  EXPECT_EQ(get<int>(value, "n", "v.json"), 3);
  EXPECT_EQ(get<double>(value, "n", "v.json"), 3.0);
  EXPECT_TRUE(get<bool>(value, "yes", "v.json"));
  EXPECT_EQ(get<std::vector<int>>(value, "list", "v.json"), (std::vector<int>{1, 2}));
  EXPECT_TRUE(refused([&] { get<int>(value, "absent", "v.json"); }, "v.json: the key \"absent\" is missing"));
  EXPECT_TRUE(refused([&] { get<int>(value, "half", "v.json"); }, "\"half\" holds 0.5, expected an integer"));
  EXPECT_TRUE(refused([&] { get<int>(value, "yes", "v.json"); }, "expected an integer"));
  EXPECT_TRUE(
      refused([&] { get<uint8_t>(value, "big", "v.json"); }, "\"big\" holds 300, expected an integer from 0 to 255"));
  EXPECT_TRUE(refused([&] { get<size_t>(value, "minus", "v.json"); }, "expected an integer from 0"));
  EXPECT_TRUE(refused([&] { get<double>(value, "none", "v.json"); }, "holds null, expected a number"));
  EXPECT_TRUE(refused([&] { get<bool>(value, "n", "v.json"); }, "expected true or false"));
  EXPECT_TRUE(refused([&] { get<std::string>(value, "n", "v.json"); }, "expected a string"));
  EXPECT_TRUE(refused([&] { get<int>(Json(3), "n", "v.json"); }, "missing"));
}

}  // namespace metvox
