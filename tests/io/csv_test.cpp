// SPDX-License-Identifier: Apache-2.0
#include "io/csv.h"

#include <cmath>
#include <limits>

#include "io_testing.h"
#include "tensor/random.h"

namespace metvox {
namespace {

testing::AssertionResult text_refused(const std::string& text, const std::string& part) {
  Scratch scratch;
  write_text(scratch / "a.csv", text);
  return refused([&] { read_csv(scratch / "a.csv"); }, (scratch / "a.csv").string() + part);
}

}  // namespace

TEST(csv, numbers_come_back) {
  EXPECT_EQ(csv_number(0.1), "0.1");
  EXPECT_EQ(csv_number(3), "3");
  EXPECT_EQ(csv_number(-NAN), "nan");
  EXPECT_EQ(csv_number(INFINITY), "inf");
  EXPECT_EQ(csv_number(-INFINITY), "-inf");
  Random random(1, 2);
  for (int n = 0; n < 1000; ++n) {
    const double value = std::ldexp(random.uniform() - 0.5, static_cast<int>(random.below(600)) - 300);
    EXPECT_EQ(std::stod(csv_number(value)), value);
  }
  EXPECT_EQ(std::stod(csv_number(std::numeric_limits<double>::max())), std::numeric_limits<double>::max());
}

TEST(csv, any_cell_comes_back) {
  Scratch scratch;
  const CsvTable table{{"sample", "a,b", "say \"x\""}, {{"1", "", " two\nlines\r\n"}, {"", "", ""}, {"\"", ",", "µ"}}};
  write_csv(scratch / "a.csv", table);
  const CsvTable back = read_csv(scratch / "a.csv");
  EXPECT_EQ(back.columns, table.columns);
  EXPECT_EQ(back.rows, table.rows);
  const CsvTable narrow{{"only"}, {{""}, {"x"}, {""}}};
  write_csv(scratch / "b.csv", narrow);
  EXPECT_EQ(read_csv(scratch / "b.csv").rows, narrow.rows);
}

TEST(csv, reads_what_others_write) {
  Scratch scratch;
  write_text(scratch / "a.csv", "\xef\xbb\xbfsample,DICE_et\r\nx,0.5\r\n\r\n\"y\",nan");
  const CsvTable table = read_csv(scratch / "a.csv");
  EXPECT_EQ(table.columns, (std::vector<std::string>{"sample", "DICE_et"}));
  EXPECT_EQ(table.rows, (std::vector<std::vector<std::string>>{{"x", "0.5"}, {"y", "nan"}}));
  EXPECT_EQ(table.column("DICE_et", "a.csv"), 1u);
  EXPECT_TRUE(
      refused([&] { table.column("DICE_wt", "a.csv"); }, "a.csv: has no column \"DICE_wt\"; it has sample, DICE_et"));
}

TEST(csv, refusals_name_the_line) {
  EXPECT_TRUE(text_refused("", ": is empty"));
  EXPECT_TRUE(text_refused("\n\n", ": is empty"));
  EXPECT_TRUE(text_refused("a,b\n1,2\n3\n", ": line 3: 1 cells, expected 2"));
  EXPECT_TRUE(text_refused("a,b\n\"1\n2\",3\n1,2,3\n", ": line 4: 3 cells, expected 2"));
  EXPECT_TRUE(text_refused("a,b\n1,\"2\n", ": line 2: a quote is never closed"));
  EXPECT_TRUE(text_refused("a,b\n1,\"2\"x\n", ": line 2: text follows a closing quote"));
}

}  // namespace metvox
