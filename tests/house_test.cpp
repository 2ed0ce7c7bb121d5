// SPDX-License-Identifier: Apache-2.0
// The house's rules on the text of the sources: #include lines follow the arrows between rooms, files stay short,
// headers are guarded. That each header compiles alone: a .cpp includes its own header first (checked here), and the
// headers without a .cpp are compiled one by one by the build (house_headers in CMakeLists.txt).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace metvox {
namespace {

namespace fs = std::filesystem;

constexpr int kMostCodeLines = 400;

// Which rooms a room may include, beside itself.
const std::map<std::string, std::set<std::string>> kArrows{
    {"tensor", {}},
    {"kernels", {"tensor"}},
    {"autograd", {"tensor", "kernels"}},
    {"layers", {"tensor", "kernels", "autograd"}},
    {"io", {"tensor"}},
    {"segmentation", {"tensor", "kernels", "autograd", "layers", "io"}},
    {"tools", {"tensor", "kernels", "autograd", "layers", "io", "segmentation"}},
};

// The rooms inside segmentation: one includes itself and those of a lower rank.
const std::map<std::string, int> kInnerRanks{{"data", 0},      {"phantom", 1},  {"networks", 1}, {"evaluation", 1},
                                             {"inference", 2}, {"training", 3}, {"crossval", 3}, {"exchange", 4},
                                             {"report", 4},    {"study", 5},    {"explain", 3}};

std::string part(const std::string& path, int n) {
  std::istringstream parts(path);
  std::string text;
  for (int i = 0; i <= n; ++i) std::getline(parts, text, '/');
  return text;
}

std::vector<std::string> includes_of(const std::string& text) {
  static const std::regex line(R"re((?:^|\n)[ \t]*#[ \t]*include[ \t]*"([^"]+)")re");
  std::vector<std::string> found;
  for (auto i = std::sregex_iterator(text.begin(), text.end(), line); i != std::sregex_iterator(); ++i)
    found.push_back((*i)[1]);
  return found;
}

// Why the file may not include this; empty when it may.
std::string wrong_arrow(const std::string& file, const std::string& included) {
  const std::string from = part(file, 0), to = part(included, 0);
  if (!kArrows.contains(from)) return "";
  if (!kArrows.contains(to)) return "not a path from the root of the tree";
  if (from != to && !kArrows.at(from).contains(to)) return from + " must not know " + to;
  if (from != "segmentation" || to != "segmentation") return "";
  const std::string inner_from = part(file, 1), inner_to = part(included, 1);
  if (!kInnerRanks.contains(inner_from) || !kInnerRanks.contains(inner_to))
    return "an inner room that kInnerRanks does not name";
  const bool ok = inner_from == inner_to || kInnerRanks.at(inner_from) > kInnerRanks.at(inner_to);
  return ok ? "" : "segmentation/" + inner_from + " must not know segmentation/" + inner_to;
}

// Lines that are neither blank nor comment alone.
int code_lines(const std::string& text, bool hash_comments) {
  std::istringstream lines(text);
  int count = 0;
  bool in_block = false;
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    const std::string start = line.substr(first, 2);
    if (in_block || start == "/*") {
      in_block = line.find("*/") == std::string::npos;
      continue;
    }
    count += hash_comments ? start[0] != '#' : start != "//";
  }
  return count;
}

// The file's own header, when there is one, must come first: "io/nifti.cpp" begins with "io/nifti.h".
bool begins_with_own_header(const std::string& file, const std::string& text) {
  const auto includes = includes_of(text);
  return !includes.empty() && includes[0] == fs::path(file).replace_extension(".h").string();
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const fs::path kRoot = METVOX_SOURCE_DIR;

struct Source {
  std::string name, text;  // name from the root, such as "io/nifti.cpp"
  bool is(const char* extension) const { return fs::path(name).extension() == extension; }
};

// Every file that people write, in the rooms and around them; build folders are not rooms.
const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    const std::set<std::string> extensions{".h", ".cpp", ".cu", ".cuh", ".sh", ".cmake", ".py", ".txt"};
    std::vector<Source> found;
    for (const char* folder :
         {"tensor", "kernels", "autograd", "layers", "io", "segmentation", "tools", "tests", "cmake"})
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
        if (entry.is_regular_file() && extensions.contains(entry.path().extension()))
          found.push_back({fs::relative(entry.path(), kRoot), read(entry.path())});
    found.push_back({"CMakeLists.txt", read(kRoot / "CMakeLists.txt")});
    return found;
  }();
  return all;
}

}  // namespace

TEST(house, includes_follow_the_arrows) {
  for (const Source& s : sources())
    for (const auto& included : includes_of(s.text))
      EXPECT_EQ(wrong_arrow(s.name, included), "") << s.name << " includes " << included;
}

TEST(house, files_stay_short) {
  for (const Source& s : sources()) {
    const bool hash = !s.is(".h") && !s.is(".cpp") && !s.is(".cu") && !s.is(".cuh");
    EXPECT_LE(code_lines(s.text, hash), kMostCodeLines) << s.name;
  }
}

TEST(house, headers_are_guarded_and_come_first_in_their_source) {
  for (const Source& s : sources()) {
    const bool has_header = s.is(".cpp") && fs::exists((kRoot / s.name).replace_extension(".h"));
    EXPECT_TRUE(!s.is(".h") || s.text.find("\n#pragma once\n") != std::string::npos) << s.name;
    EXPECT_TRUE(!has_header || begins_with_own_header(s.name, s.text)) << s.name;
  }
}

TEST(house, every_source_names_its_licence) {
  for (const Source& s : sources()) {
    const bool code = s.is(".h") || s.is(".cpp");
    EXPECT_TRUE(!code || s.text.starts_with("// SPDX-License-Identifier: Apache-2.0\n")) << s.name;
  }
}

// Shared memory that the executor of kernels/sim neither knows by name nor bounds: only METVOX_SHARED may declare it.
bool declares_bare_shared(const std::string& text) {
  static const std::regex word(R"re((^|\n)[^\n"]*\b__shared__\b)re"), comment(R"re(//[^\n]*)re");
  return std::regex_search(std::regex_replace(text, comment, ""), word);
}

TEST(house, shared_memory_is_declared_by_the_macro) {
  const std::set<std::string> may{"kernels/cuda/kernel.h", "kernels/cuda/hopper.h"};
  for (const Source& s : sources())
    EXPECT_TRUE(s.is(".cpp") || may.contains(s.name) || !declares_bare_shared(s.text)) << s.name;
}

TEST(house, rules_can_fail) {
  EXPECT_EQ(includes_of("#include <map>\n  #  include \"io/nifti.h\"\n// #include \"x.h\"\n"),
            std::vector<std::string>{"io/nifti.h"});
  EXPECT_NE(wrong_arrow("io/nifti.cpp", "kernels/conv3d.h"), "");
  EXPECT_NE(wrong_arrow("tensor/tensor.cpp", "io/files.h"), "");
  EXPECT_NE(wrong_arrow("kernels/conv3d.cpp", "conv3d.h"), "");
  EXPECT_NE(wrong_arrow("segmentation/data/plans.cpp", "segmentation/training/folds.h"), "");
  EXPECT_NE(wrong_arrow("segmentation/data/plans.cpp", "segmentation/attic/x.h"), "");
  EXPECT_EQ(wrong_arrow("segmentation/training/trainer.cpp", "segmentation/data/plans.h"), "");
  EXPECT_EQ(wrong_arrow("tests/io/nifti_test.cpp", "segmentation/data/plans.h"), "");
  EXPECT_TRUE(declares_bare_shared("int a;\n  __shared__ float tile[32];\n"));
  EXPECT_FALSE(declares_bare_shared("// __shared__ is macro only\nMETVOX_SHARED(float, tile, [32]);\n"));
  EXPECT_EQ(code_lines("// one\n\nint a;\n/* two\n three */\nint b;  // c\n  \n", false), 2);
  EXPECT_EQ(code_lines("# one\necho\n", true), 1);
  EXPECT_FALSE(
      begins_with_own_header("io/nifti.cpp", "#include <map>\n#include \"io/files.h\"\n#include \"io/nifti.h\"\n"));
  EXPECT_TRUE(begins_with_own_header("io/nifti.cpp", "#include \"io/nifti.h\"\n#include <map>\n"));
}

}  // namespace metvox
