// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"

#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "kernels/engines_of.h"
#include "tools/machine.h"
#include "tools/progress.h"

namespace po = boost::program_options;

namespace metvox {
namespace {

constexpr int kMostThreads = 1024;

// An option that takes between `least` and `most` tokens as they are; giving it again adds to them.
class Tokens : public po::value_semantic {
 public:
  Tokens(size_t least, size_t most) : least_(static_cast<unsigned>(least)), most_(static_cast<unsigned>(most)) {}
  std::string name() const override { return ""; }
  unsigned min_tokens() const override { return least_; }
  unsigned max_tokens() const override { return most_; }
  bool is_composing() const override { return true; }
  bool is_required() const override { return false; }
  bool apply_default(boost::any&) const override { return false; }
  void notify(const boost::any&) const override {}
  void parse(boost::any& store, const std::vector<std::string>& tokens, bool) const override {
    std::vector<std::string> all;
    if (!store.empty()) all = boost::any_cast<std::vector<std::string>>(store);
    all.insert(all.end(), tokens.begin(), tokens.end());
    store = all;
  }

 private:
  unsigned least_, most_;
};

template <class T>
void number_from_text(const std::string& text, const std::string& where, const char* kind, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) fail(Fault::usage, where, ": ", text, " is out of range");
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    fail(Fault::usage, where, ": \"", text, "\" is not ", kind);
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string join(const std::vector<std::string>& words, const std::string& between) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

// Help text of one option, wrapped beside its name, or below it where the terminal is narrow.
void print_row(const std::string& left, const std::string& text) {
  constexpr size_t kWidest = 110, kNarrow = 80;
  const size_t columns = terminal_columns(STDOUT_FILENO), width = columns == 0 ? kWidest : std::min(columns, kWidest),
               indent = width < kNarrow ? 8 : 34;
  std::string line = "  " + left;
  line += line.size() + 2 > indent ? "\n" + std::string(indent, ' ') : std::string(indent - line.size(), ' ');
  size_t column = indent;
  for (size_t first = 0; first < text.size();) {
    size_t last = std::min(text.find(' ', first), text.size());
    if (column > indent && column + 1 + last - first > width) {
      line += "\n" + std::string(indent, ' ');
      column = indent;
    }
    if (column > indent) line += ' ', ++column;
    line += text.substr(first, last - first);
    column += last - first;
    first = last + 1;
  }
  std::printf("%s\n", line.c_str());
}

DType cpu_type(const std::string& precision) {
  if (precision == "tf32")
    fail(Fault::usage, "--precision tf32: a CPU has no tf32; use f32 here, or a GPU from sm_80 on with --device");
  if (precision == "f16")
    fail(Fault::usage, "--precision f16: a CPU computes in f32 or, where it has the instructions, bf16");
  if (precision == "bf16" && !has_bf16_instructions())
    fail(Fault::usage,
         "--precision bf16: this CPU has neither avx512_bf16 nor AMX, so bf16 would be slower than f32; use f32");
  return precision == "bf16" ? DType::bf16 : DType::f32;
}

DType gpu_type(const std::string& precision, Device device) {
  const bool has_bf16 = driver(device).facts(device.index).arch >= 800;
  if (precision == "tf32" && !has_bf16)
    fail(Fault::usage, "--precision tf32: ", name_of(device), " has no tf32 instructions; use f16 or f32");
  if (precision == "bf16" && !has_bf16)
    fail(Fault::usage, "--precision bf16: ", name_of(device), " has no bf16 instructions; use f16 or f32");
  if (precision == "f32" || precision == "tf32") return DType::f32;
  return precision == "f16" || !has_bf16 ? DType::f16 : DType::bf16;
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  std::string best;
  if (word.size() < 2) return best;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : words) {
    const bool begins = candidate.starts_with(word) || (candidate.size() > 2 && word.starts_with(candidate));
    const size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance < least) best = candidate, least = distance;
  }
  return best;
}

void from_text(const std::string& text, const std::string& where, int& value) {
  number_from_text(text, where, "a whole number", value);
}
void from_text(const std::string& text, const std::string& where, int64_t& value) {
  number_from_text(text, where, "a whole number", value);
}
void from_text(const std::string& text, const std::string& where, uint64_t& value) {
  number_from_text(text, where, "a whole number of 0 or more", value);
}
void from_text(const std::string& text, const std::string& where, double& value) {
  number_from_text(text, where, "a number", value);
  if (!std::isfinite(value)) fail(Fault::usage, where, ": ", text, " is not finite");
}
void from_text(const std::string& text, const std::string& where, std::string& value) {
  if (text.empty()) fail(Fault::usage, where, ": the value is empty");
  value = text;
}
void from_text(const std::string& text, const std::string& where, Path& value) {
  if (text.empty()) fail(Fault::usage, where, ": the path is empty");
  value = text;
}
std::string to_text(const Path& value) { return value.string(); }
std::string to_text(const std::string& value) { return value; }
std::string to_text(double value) { return sentence(value); }

CommandLine::CommandLine(const Verb& verb, std::vector<std::string> arguments)
    : verb_(verb), arguments_(std::move(arguments)) {}

void CommandLine::add(const std::string& names, const std::string& value_name, const std::string& help, Count count,
                      const std::string& shown_default, std::function<void(const Texts&, const std::string&)> set) {
  const size_t comma = names.find(',');
  Declared d{names.substr(0, comma),
             comma == std::string::npos ? "" : names.substr(comma + 1),
             value_name,
             help,
             count,
             shown_default,
             std::move(set)};
  check(!find(d.name), "metvox ", verb_.name, ": --", d.name, " is declared twice");
  declared_.push_back(std::move(d));
}

void CommandLine::option(const std::string& names, bool& variable, const std::string& help) {
  add(names, "", help, {0, 0, Need::optional}, "", [&variable](const Texts&, const std::string&) { variable = true; });
}

void CommandLine::choice(const std::string& names, std::string& variable, const std::vector<std::string>& words,
                         const std::string& help) {
  add(names, join(words, "|"), help, {1, 1, Need::optional}, variable,
      [&variable, words](const Texts& texts, const std::string& where) {
        if (std::find(words.begin(), words.end(), texts[0]) == words.end())
          fail(Fault::usage, where, ": \"", texts[0], "\" is not one of ", join(words, ", "));
        variable = texts[0];
      });
}

void CommandLine::place(const std::string& name, const std::string& help, Count count,
                        std::function<void(const Texts&, const std::string&)> set) {
  declared_.push_back({name, "", "", help, count, "", std::move(set), true});
}
void CommandLine::positional(const std::string& name, Path& variable, const std::string& help, Need need) {
  place(name, help, {1, 1, need},
        [&variable](const Texts& texts, const std::string& where) { from_text(texts[0], where, variable); });
}
void CommandLine::positional(const std::string& name, std::string& variable, const std::string& help, Need need) {
  place(name, help, {1, 1, need},
        [&variable](const Texts& texts, const std::string& where) { from_text(texts[0], where, variable); });
}
void CommandLine::positional(const std::string& name, std::vector<Path>& variable, const std::string& help, Need need) {
  place(name, help, {1, kMany, need}, [&variable](const Texts& texts, const std::string& where) {
    for (const auto& text : texts) from_text(text, where, variable.emplace_back());
  });
}

void CommandLine::common(const std::vector<Common>& which) {
  for (Common c : which) switch (c) {
      case Common::device: option("device", common_.device, "auto|cpu|cuda[:N]", "where to compute"); break;
      case Common::engine:
        option("engine", common_.engine, join(engines_of(Device::Kind::cpu), "|"),
               "use this engine where an op has it, and never fall back from it");
        break;
      case Common::precision:
        choice("precision", common_.precision, {"auto", "f32", "tf32", "bf16", "f16"},
               "type of the activations; tf32: f32, but a GPU's convolutions (from sm_80) may round what they "
               "multiply to 10 bits; auto: f32 on a CPU, on a GPU bf16 (f16 before sm_80), but f32 to train "
               "segresnet");
        break;
      case Common::seed: option("seed", common_.seed, "S", "seed of everything random"); break;
      case Common::threads: option("threads", common_.threads, "N", "CPU threads; 0: every core"); break;
      case Common::json: option("json", common_.json, "print one JSON value on stdout"); break;
      case Common::quiet: option("quiet", common_.quiet, "no progress, no messages but faults"); break;
      case Common::dry_run: option("dry-run", common_.dry_run, "say what would be done; write nothing"); break;
    }
}

CommandLine::Declared* CommandLine::find(const std::string& name) {
  for (auto& d : declared_)
    if (d.name == name && !d.is_positional) return &d;
  return nullptr;
}

bool CommandLine::given(const std::string& name) const {
  for (const auto& d : declared_)
    if (d.name == name) return d.was_given;
  fail(Fault::internal, "metvox ", verb_.name, ": --", name, " was never declared");
}

void CommandLine::refuse_option(const std::string& name) const {
  std::vector<std::string> names{"help"};
  for (const auto& d : declared_)
    if (!d.is_positional) names.push_back(d.name);
  const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
  const std::string guess = nearest(bare, names);
  fail(Fault::usage, "there is no option ", name, guess.empty() ? "; see" : "; did you mean --" + guess + "? See",
       " metvox ", verb_.name, " --help");
}

// Fills texts and was_given of every declared option and positional.
void CommandLine::collect() {
  po::options_description described;
  for (const auto& d : declared_)
    if (!d.is_positional)
      described.add_options()((d.name + (d.letter.empty() ? "" : "," + d.letter)).c_str(),
                              new Tokens(d.count.least, d.count.most));
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  Texts loose;
  try {
    for (const auto& o : po::command_line_parser(arguments_).options(described).style(style).run().options) {
      if (o.position_key >= 0) {
        loose.insert(loose.end(), o.value.begin(), o.value.end());
        continue;
      }
      Declared* d = find(o.string_key);
      if (!d) refuse_option(o.original_tokens.empty() ? o.string_key : o.original_tokens[0]);
      if (d->was_given && d->count.most != kMany) fail(Fault::usage, "--", d->name, " is given twice");
      d->was_given = true;
      d->texts.insert(d->texts.end(), o.value.begin(), o.value.end());
    }
  } catch (const po::unknown_option& e) {
    refuse_option(e.get_option_name());
  } catch (const po::error_with_option_name& e) {
    const Declared* d =
        find(e.get_option_name().substr(std::min(e.get_option_name().find_first_not_of('-'), size_t{2})));
    if (!d) fail(Fault::usage, e.what(), "; see metvox ", verb_.name, " --help");
    fail(Fault::usage, "--", d->name, d->count.most == 0 ? " takes no value" : " needs " + d->value_name,
         "; see metvox ", verb_.name, " --help");
  }
  deal_positionals(std::move(loose));
}

void CommandLine::deal_positionals(Texts texts) {
  size_t next = 0;
  for (auto& d : declared_) {
    if (!d.is_positional) continue;
    const size_t n = std::min(d.count.most, texts.size() - next);
    d.texts.assign(texts.begin() + static_cast<ptrdiff_t>(next), texts.begin() + static_cast<ptrdiff_t>(next + n));
    d.was_given = n > 0;
    next += n;
  }
  if (next < texts.size())
    fail(Fault::usage, "\"", texts[next], "\" is one argument too many; see metvox ", verb_.name, " --help");
}

bool CommandLine::parse() {
  const auto end = std::find(arguments_.begin(), arguments_.end(), "--");
  if (std::find(arguments_.begin(), end, "--help") != end || std::find(arguments_.begin(), end, "-h") != end) {
    print_help();
    return false;
  }
  collect();
  for (auto& d : declared_) {
    const std::string where = d.is_positional ? d.name : "--" + d.name;
    if (!d.was_given) {
      if (d.count.need == Need::required) fail(Fault::usage, where, " is missing; see metvox ", verb_.name, " --help");
      continue;
    }
    if (d.texts.size() < d.count.least || d.texts.size() > d.count.most)
      fail(Fault::usage, where, " takes ", d.count.least, " values, not ", d.texts.size());
    d.set(d.texts, where);
  }
  if (common_.threads < 0) fail(Fault::usage, "--threads: ", common_.threads, " is below 0");
  if (common_.threads > kMostThreads)
    fail(Fault::usage, "--threads: ", common_.threads, " is above ", kMostThreads, "; 0 takes every core");
  if (find("threads")) start_threads(common_.threads);
  return true;
}

void CommandLine::print_help() const {
  std::string usage = "metvox " + verb_.name;
  for (const auto& d : declared_) {
    if (!d.is_positional && d.count.need == Need::optional) continue;
    const std::string twins = (d.letter.empty() ? "" : "-" + d.letter + "|") + "--" + d.name;
    const std::string shown = d.is_positional ? d.name : twins + " " + d.value_name;
    usage += " " + (d.count.need == Need::optional ? "[" + shown + "]" : shown) + (d.count.most == kMany ? "..." : "");
  }
  std::string example;
  for (char c : verb_.example) example += c == '\n' ? std::string("\n  ") : std::string(1, c);
  std::printf("Example:\n  %s\n\n%s: %s\n\nUsage: %s [options]\n\n", example.c_str(), verb_.name.c_str(),
              verb_.summary.c_str(), usage.c_str());
  for (const auto& d : declared_) {
    std::string left = d.is_positional ? d.name : (d.letter.empty() ? "" : "-" + d.letter + ", ") + "--" + d.name;
    if (!d.value_name.empty()) left += " " + d.value_name;
    if (d.count.most == kMany) left += "...";
    const std::string unless = d.count.need == Need::required ? " (required)"
                               : d.shown_default.empty()      ? ""
                                                              : " (default: " + d.shown_default + ")";
    print_row(left, d.help + unless);
  }
  print_row("-h, --help", "this text");
}

Target CommandLine::target(const std::string& engine, const std::string& automatic) const {
  const Device device = find_device(common_.device);
  const auto engines = engines_of(device.kind);
  if (!engine.empty() && std::find(engines.begin(), engines.end(), engine) == engines.end())
    fail(Fault::usage, "--engine: \"", engine, "\" is not an engine of ", device.is_cpu() ? "the CPU" : name_of(device),
         "; there are ", join(engines, ", "));
  const std::string precision = common_.precision == "auto" ? automatic : common_.precision;
  return {device, device.is_cpu() ? cpu_type(precision) : gpu_type(precision, device), engine, nullptr,
          precision == "tf32"};
}

void print_json(const Json& value) { std::printf("%s\n", json_text(value, 2).c_str()); }

}  // namespace metvox
