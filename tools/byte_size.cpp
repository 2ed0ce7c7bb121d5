// SPDX-License-Identifier: Apache-2.0
#include "tools/byte_size.h"

#include "tools/cli.h"

namespace metvox {

void from_text(const std::string& text, const std::string& where, ByteSize& value) {
  const std::string units = "KMG";
  const size_t unit = text.empty() ? std::string::npos : units.find(text.back());
  double number = 0;
  if (unit == std::string::npos) from_text(text, where, number);
  else from_text(text.substr(0, text.size() - 1), where, number);
  for (size_t i = 0; unit != std::string::npos && i <= unit; ++i) number *= 1024;
  if (!(number >= 1 && number < 0x1p60))
    fail(Fault::usage, where, ": \"", text, "\" is no size of memory, such as 800M or 4G");
  value.bytes = static_cast<size_t>(number);
}

}  // namespace metvox
