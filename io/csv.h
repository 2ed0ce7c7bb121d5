// SPDX-License-Identifier: Apache-2.0
// CSV as RFC 4180, but lines end in \n as everywhere here (\r\n is read too): a header line, quoted where needed,
// numbers that round-trip (shortest form), "nan", "inf", "-inf".
#pragma once
#include <string>
#include <vector>

#include "io/files.h"

namespace metvox {

std::string csv_number(double value);

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  // Index of a column; throws Error (Fault::input) naming `where` and the columns there are.
  size_t column(const std::string& name, const Path& where) const;
};
// Throws Error (Fault::input) with path and line: no header, an open quote, a row with more or fewer cells than
// columns.
CsvTable read_csv(const Path& path);
void write_csv(const Path& path, const CsvTable& table);

}  // namespace metvox
