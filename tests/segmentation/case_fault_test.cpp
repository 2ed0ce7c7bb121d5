// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/case_fault.h"

#include <gtest/gtest.h>

namespace metvox {
namespace {

template <class E>
std::optional<CaseFault> fault_of(const E& thrown) {
  return try_case("a12", [&] { throw thrown; });
}

}  // namespace

TEST(case_fault, nothing_when_all_went_well) {
  EXPECT_FALSE(try_case("a12", [] {}));
}

TEST(case_fault, a_sentence_names_the_case_once) {
  EXPECT_EQ(fault_of(Error(Fault::input, "x.nii: is torn"))->text, "case a12: x.nii: is torn");
  EXPECT_EQ(fault_of(Error(Fault::input, "a12.nii: is torn"))->text, "case a12: a12.nii: is torn");
  EXPECT_EQ(fault_of(Error(Fault::input, "case a12: is torn"))->text, "case a12: is torn");
  EXPECT_EQ(fault_of(Error(Fault::input, "case a12 has 3 sequences"))->text, "case a12 has 3 sequences");
  EXPECT_EQ(fault_of(Error(Fault::input, "case a1: is torn"))->text, "case a12: case a1: is torn");
  EXPECT_EQ(fault_of(Error(Fault::memory, "no room"))->fault, Fault::memory);
  EXPECT_FALSE(fault_of(Error(Fault::input, "x"))->stop);
}

TEST(case_fault, counts_are_words_that_fit) {
  EXPECT_EQ(counted(0, "case"), "0 cases");
  EXPECT_EQ(counted(1, "case"), "1 case");
  EXPECT_EQ(not_begun_sentence(1, "out"),
            "1 more case was not begun; make room in out and run it again: finished cases are kept");
  EXPECT_EQ(not_begun_sentence(2, "out"),
            "2 more cases were not begun; make room in out and run it again: finished cases are kept");
}

TEST(case_fault, an_output_that_takes_no_more_stops_the_others) {
  const auto fault = fault_of(WriteError("cannot write y: the disk is full"));
  EXPECT_TRUE(fault->stop);
  EXPECT_EQ(fault->fault, Fault::input);
}

TEST(case_fault, memory_and_files_of_the_library_below_are_faults_too) {
  EXPECT_EQ(fault_of(std::bad_alloc())->fault, Fault::memory);
  EXPECT_EQ(fault_of(std::bad_alloc())->text, "case a12: out of memory");
  const auto gone = fault_of(
      std::filesystem::filesystem_error("status", "/x", std::make_error_code(std::errc::no_such_file_or_directory)));
  EXPECT_EQ(gone->text, "case a12: /x: No such file or directory");
  EXPECT_EQ(gone->fault, Fault::input);
}

TEST(case_fault, faults_of_the_program_go_on) {
  EXPECT_THROW(fault_of(Error(Fault::internal, "contract")), Error);
  EXPECT_THROW(fault_of(Error(Fault::usage, "flag")), Error);
  EXPECT_THROW(fault_of(std::logic_error("bug")), std::logic_error);
}

}  // namespace metvox
