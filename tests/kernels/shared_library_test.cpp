// SPDX-License-Identifier: Apache-2.0
#include "kernels/shared_library.h"

#include <gtest/gtest.h>

namespace metvox {

TEST(shared_library, absent_is_no_error_but_a_sentence) {
  SharedLibrary none("libmetvox_there_is_none.so.9");
  EXPECT_NE(none.why().find("libmetvox_there_is_none.so.9"), std::string::npos) << none.why();
  int (*function)(int) = [](int i) { return i; };
  none.find(function, "abs");
  EXPECT_EQ(function, nullptr);
}

TEST(shared_library, finds_functions_and_names_what_is_missing) {
  SharedLibrary libm("libm.so.6");
  double (*cosine)(double) = nullptr;
  libm.find(cosine, "cos");
  ASSERT_NE(cosine, nullptr);
  EXPECT_EQ(cosine(0.0), 1.0);
  EXPECT_EQ(libm.why(), "");
  libm.find(cosine, "cosine_of_the_future");
  EXPECT_EQ(cosine, nullptr);
  EXPECT_NE(libm.why().find("cosine_of_the_future"), std::string::npos) << libm.why();
}

}  // namespace metvox
