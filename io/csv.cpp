// SPDX-License-Identifier: Apache-2.0
#include "io/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace metvox {
namespace {

using Row = std::vector<std::string>;

// A cursor over the text of a file.
struct Parser {
  const std::string& text;
  const Path& path;
  size_t at = 0;
  int64_t line = 1;

  bool done() const { return at >= text.size(); }
  bool at_line_end() const { return done() || text[at] == '\n' || text.compare(at, 2, "\r\n") == 0; }
  void next_line() {
    at = std::min(text.find('\n', at), text.size() - 1) + 1;
    ++line;
  }
  std::string quoted() {
    const int64_t opened = line;
    std::string cell;
    for (++at; !done(); ++at) {
      if (text[at] == '"' && text.compare(at, 2, "\"\"") != 0) {
        ++at;
        if (!at_line_end() && text[at] != ',')
          fail(Fault::input, path.string(), ": line ", line, ": text follows a closing quote");
        return cell;
      }
      if (text[at] == '"') ++at;
      if (text[at] == '\n') ++line;
      cell += text[at];
    }
    fail(Fault::input, path.string(), ": line ", opened, ": a quote is never closed");
  }
  std::string bare() {
    const size_t start = at;
    while (!at_line_end() && text[at] != ',') ++at;
    return text.substr(start, at - start);
  }
  Row row() {
    Row cells;
    for (;; ++at) {
      cells.push_back(!done() && text[at] == '"' ? quoted() : bare());
      if (at_line_end()) break;
    }
    if (!done()) next_line();
    return cells;
  }
};

void append_row(std::string& out, const Row& row) {
  for (size_t n = 0; n < row.size(); ++n) {
    const std::string& cell = row[n];
    if (n > 0) out += ',';
    // An empty cell alone on its line would read as a blank line.
    const bool quote = cell.find_first_of(",\"\n\r") != std::string::npos || (cell.empty() && row.size() == 1);
    if (!quote) {
      out += cell;
      continue;
    }
    out += '"';
    for (char c : cell) out.append(c == '"' ? 2 : 1, c);
    out += '"';
  }
  out += '\n';
}

}  // namespace

std::string csv_number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

size_t CsvTable::column(const std::string& name, const Path& where) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found != columns.end()) return static_cast<size_t>(found - columns.begin());
  std::string have;
  for (const std::string& column : columns) have += (have.empty() ? "" : ", ") + column;
  fail(Fault::input, where.string(), ": has no column \"", name, "\"; it has ", have);
}

CsvTable read_csv(const Path& path) {
  const std::string text = read_text(path);
  Parser parser{text, path};
  if (text.starts_with("\xef\xbb\xbf")) parser.at = 3;  // byte order mark
  CsvTable table;
  while (!parser.done()) {
    if (parser.at_line_end()) {
      parser.next_line();
      continue;
    }
    const int64_t line = parser.line;
    Row row = parser.row();
    if (table.columns.empty()) {
      table.columns = std::move(row);
      continue;
    }
    if (row.size() != table.columns.size())
      fail(Fault::input, path.string(), ": line ", line, ": ", row.size(), " cells, expected ", table.columns.size());
    table.rows.push_back(std::move(row));
  }
  if (table.columns.empty()) fail(Fault::input, path.string(), ": is empty, expected a line of column names");
  return table;
}

void write_csv(const Path& path, const CsvTable& table) {
  std::string out;
  append_row(out, table.columns);
  for (const Row& row : table.rows) {
    check(row.size() == table.columns.size(), "write_csv: a row of ", row.size(), " cells under ", table.columns.size(),
          " columns");
    append_row(out, row);
  }
  write_text(path, out);
}

}  // namespace metvox
