// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/html.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

namespace metvox::html {

namespace {

constexpr const char* kStyle = R"(
:root{--ink:#1c2430;--soft:#5d6878;--line:#e2e6ec;--paper:#fff;--back:#f5f6f8;--accent:#2f6fde}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:1.7rem;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:38px 0 12px}
p{margin:6px 0}
.soft{color:var(--soft)}
.note{border-left:4px solid var(--accent);background:var(--paper);padding:10px 14px;margin:16px 0;border-radius:0 6px 6px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(124px,1fr));gap:10px;margin-top:18px}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 12px}
.tile b{display:block;white-space:nowrap;font-size:1.45rem;line-height:1.15;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.86rem;display:block;margin-top:3px}
figure{margin:0 0 18px;background:var(--paper);border:1px solid var(--line);border-radius:10px;overflow:hidden}
figure img{display:block;width:100%;height:auto}
figcaption{padding:10px 14px;font-size:.92rem}
figcaption b{overflow-wrap:anywhere}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,200px),1fr));gap:14px}
.small figure{margin:0}
.triple{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:14px;margin-bottom:18px}
.triple figure{margin:0}
h3{font-size:1rem;margin:22px 0 8px;overflow-wrap:anywhere}
details{margin:10px 0}
summary{cursor:pointer;color:var(--accent)}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;font-size:.9rem;color:var(--soft);margin:0 0 14px;padding:0;list-style:none}
.legend i{display:inline-block;width:13px;height:13px;border-radius:3px;margin-right:6px;vertical-align:-2px}
.wide{overflow-x:auto;background:var(--paper);border:1px solid var(--line);border-radius:10px}
.wide+.wide{margin-top:12px}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:7px 9px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
.text{text-align:left}
tr:last-child td{border-bottom:0}
th{color:var(--soft);font-weight:600;white-space:normal;vertical-align:bottom}
@media(max-width:640px){
main{padding:20px 14px 40px}
th,td{padding:7px 8px}
.planes div{overflow-x:auto}
.planes img{width:auto;height:230px;max-width:none}
}
footer{margin-top:40px;color:var(--soft);font-size:.86rem}
@media print{
body{background:none;font-size:10.5pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}
h1,h2,h3,h2+p,h3+p,p:has(+div,+figure,+ul,+table),summary,.legend{break-after:avoid}
details::details-content{content-visibility:visible;display:block;height:auto}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:8pt}
figure,svg,tr,.tile,.note{break-inside:avoid}
tr:first-child{break-after:avoid}
.wide{overflow:visible}
table{font-size:8pt}
th,td{padding:3px 5px;white-space:normal}
.small{grid-template-columns:repeat(4,1fr);gap:8px}
.triple{grid-template-columns:1fr 1fr;gap:8px}
}
)";

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  return out;
}

std::string page_begin(const std::string& title) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>" +
         escape(title) + "</title>\n<style>" + kStyle + "</style></head>\n<body><main>\n";
}

std::string page_end() { return "</main></body></html>\n"; }

std::string image(std::span<const std::byte> png, const std::string& alternative) {
  return "<img loading=\"lazy\" alt=\"" + escape(alternative) + "\" src=\"data:image/png;base64," + base64(png) + "\">";
}

std::string image(const Picture& picture, const std::string& alternative) {
  return image(encode_png(picture), alternative);
}

std::string table(const CsvTable& table) {
  // Words stand on the left, numbers on the right; the first column names its row.
  std::vector<std::string> begin(table.columns.size());
  for (size_t c = 0; c < begin.size(); ++c) {
    const bool words = std::ranges::all_of(table.rows, [&](const auto& row) {
      return row[c].empty() || std::isalpha(static_cast<unsigned char>(row[c][0]));
    });
    begin[c] = c == 0 || words ? " class=\"text\">" : ">";
  }
  std::string out = "<div class=\"wide\"><table><tr>";
  for (size_t c = 0; c < begin.size(); ++c) out += "<th" + begin[c] + escape(table.columns[c]) + "</th>";
  out += "</tr>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (size_t c = 0; c < begin.size(); ++c) out += "<td" + begin[c] + escape(row[c]) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string fixed(double value, int digits) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  const bool zero = std::string_view(text).find_first_of("123456789") == std::string_view::npos;
  if (text[0] != '-') return text;
  return (zero ? "" : "−") + std::string(text + 1);
}

std::string colour(Rgb rgb) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
  return text;
}

}  // namespace metvox::html
