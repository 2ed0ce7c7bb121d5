// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/library.h"

#include <gtest/gtest.h>

#if METVOX_CUDNN
#include "tensor/error.h"

namespace metvox::cudnn {

TEST(cudnn_library, says_that_there_is_no_device) {
  if (!library().why.empty() || device_count(Device::Kind::cuda) > 0) GTEST_SKIP();
  try {
    handle({Device::Kind::cuda, 0});
    FAIL() << "cudnnCreate made a handle without a device";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cudnnCreate"), std::string::npos) << e.what();
  }
}

}  // namespace metvox::cudnn
#endif
