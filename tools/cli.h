// SPDX-License-Identifier: Apache-2.0
// The command line. A verb is one file tools/VERB.cpp: a function that declares its options on a CommandLine, parses,
// calls the library, prints data on stdout and messages on stderr; and one line that registers it:
//
//   int run(CommandLine& line) {
//     Path out;
//     int64_t cases = 1;                                   // the value before parse() is the default that --help shows
//     line.option("out,o", out, "DIR", "folder to write", Need::required);
//     line.option("cases", cases, "N", "how many cases");
//     line.common({Common::seed, Common::threads, Common::quiet});
//     if (!line.parse()) return 0;                         // --help was asked for, and printed
//     line.say("writing ", cases, " cases to ", out.string());
//     ...                                                  // an Error's Fault becomes the exit code
//     return 0;                                            // or code(Fault::partial)
//   }
//   const VerbEntry entry{{"phantom", Stage::data, "write a synthetic cohort", "metvox phantom --out raw --cases 5",
//   run}};
#pragma once
#include <array>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "kernels/engine.h"

namespace metvox {

class CommandLine;

// Where `metvox --help` lists a verb.
enum class Stage { data, model, results, machine };

struct Verb {
  std::string name;
  Stage stage;
  std::string summary;       // one line
  std::string example;       // a command that works as it stands, or a few, one a line
  int (*run)(CommandLine&);  // the exit code
};
struct VerbEntry {
  explicit VerbEntry(Verb verb);
};

constexpr int code(Fault fault) { return static_cast<int>(fault); }

// Options with one meaning everywhere. A verb picks those that it honours.
enum class Common { device, engine, precision, seed, threads, json, quiet, dry_run };
struct CommonValues {
  std::string device = "auto", engine, precision = "auto";
  uint64_t seed = 0;
  int threads = 0;  // 0: every core this process may use; set for the library by parse()
  bool json = false, quiet = false, dry_run = false;
};

enum class Need { optional, required };

// Text to a value; throws Error (Fault::usage) that begins with `where`, such as "--cases".
void from_text(const std::string& text, const std::string& where, int& value);
void from_text(const std::string& text, const std::string& where, int64_t& value);
void from_text(const std::string& text, const std::string& where, uint64_t& value);
void from_text(const std::string& text, const std::string& where, double& value);
void from_text(const std::string& text, const std::string& where, std::string& value);
void from_text(const std::string& text, const std::string& where, Path& value);
// Three values with `separator` between them, as in `form`, such as "152x184x150".
template <class T>
std::array<T, 3> three_from(const std::string& text, const std::string& where, char separator, const char* form) {
  std::array<T, 3> values{};
  size_t first = 0;
  for (size_t i = 0; i < 3; ++i) {
    const size_t last = i < 2 ? text.find(separator, first) : text.size();
    if (last == std::string::npos) fail(Fault::usage, where, ": \"", text, "\" is not of the form ", form);
    from_text(text.substr(first, last - first), where, values[i]);
    first = last + 1;
  }
  return values;
}
std::string to_text(const Path& value);
std::string to_text(const std::string& value);
std::string to_text(double value);
inline std::string to_text(int64_t value) { return std::to_string(value); }
inline std::string to_text(uint64_t value) { return std::to_string(value); }
inline std::string to_text(int value) { return std::to_string(value); }

class CommandLine {
 public:
  // arguments: those after the verb.
  CommandLine(const Verb& verb, std::vector<std::string> arguments);

  // names: "out,o" is --out and -o. One value.
  template <class T>
  void option(const std::string& names, T& variable, const std::string& value_name, const std::string& help,
              Need need = Need::optional) {
    add(names, value_name, help, {1, 1, need}, to_text(variable),
        [&variable](const Texts& texts, const std::string& where) { from_text(texts[0], where, variable); });
  }
  template <class T>
  void option(const std::string& names, std::optional<T>& variable, const std::string& value_name,
              const std::string& help) {
    add(names, value_name, help, {1, 1, Need::optional}, "",
        [&variable](const Texts& texts, const std::string& where) { from_text(texts[0], where, variable.emplace()); });
  }
  // One value or more, and repeatable: `-f 0 1 2`, `-f 0 -f 1`.
  template <class T>
  void option(const std::string& names, std::vector<T>& variable, const std::string& value_name,
              const std::string& help, Need need = Need::optional) {
    std::string shown;
    for (const T& value : variable) shown += (shown.empty() ? "" : " ") + to_text(value);
    add(names, value_name, help, {1, kMany, need}, shown, [&variable](const Texts& texts, const std::string& where) {
      variable.clear();
      for (const auto& text : texts) from_text(text, where, variable.emplace_back());
    });
  }
  // Exactly N values: `--patch-size 64 192 160`.
  template <class T, size_t N>
  void option(const std::string& names, std::optional<std::array<T, N>>& variable, const std::string& value_name,
              const std::string& help) {
    add(names, value_name, help, {N, N, Need::optional}, "", [&variable](const Texts& texts, const std::string& where) {
      variable.emplace();
      for (size_t i = 0; i < N; ++i) from_text(texts[i], where, (*variable)[i]);
    });
  }
  // A switch: false unless given.
  void option(const std::string& names, bool& variable, const std::string& help);
  // One of a few words.
  void choice(const std::string& names, std::string& variable, const std::vector<std::string>& words,
              const std::string& help);
  // What stands without dashes; in the order declared, a vector last.
  void positional(const std::string& name, Path& variable, const std::string& help, Need need = Need::required);
  void positional(const std::string& name, std::string& variable, const std::string& help, Need need = Need::required);
  void positional(const std::string& name, std::vector<Path>& variable, const std::string& help,
                  Need need = Need::required);
  void common(const std::vector<Common>& which);

  // Reads the arguments into the variables; throws Error (Fault::usage). False when --help was asked for and printed.
  // Also starts the CPU threads: with every core in use they are pinned, for which the program starts itself again
  // once.
  bool parse();
  bool given(const std::string& name) const;

  const CommonValues& values() const { return common_; }
  // --device, --engine and --precision as the library wants them; throws Error (Fault::usage) where this build or
  // machine cannot.
  Target target() const { return target(common_.engine); }
  // For a verb that tries several engines, or that knows better than the fastest what --precision auto is.
  Target target(const std::string& engine, const std::string& automatic = "auto") const;
  // A line on stderr, unless --quiet.
  template <class... Parts>
  void say(const Parts&... parts) const {
    if (!common_.quiet) std::fprintf(stderr, "%s\n", sentence(parts...).c_str());
  }
  // A line on stderr in any case: a fault that does not stop the others.
  template <class... Parts>
  void warn(const Parts&... parts) const {
    std::fprintf(stderr, "%s\n", sentence("metvox ", verb_.name, ": ", parts...).c_str());
  }

 private:
  static constexpr size_t kMany = 4096;
  using Texts = std::vector<std::string>;
  struct Count {
    size_t least, most;
    Need need;
  };
  struct Declared {
    std::string name, letter, value_name, help;
    Count count;
    std::string shown_default;
    std::function<void(const Texts&, const std::string& where)> set;
    bool is_positional = false;
    Texts texts{};
    bool was_given = false;
  };
  void add(const std::string& names, const std::string& value_name, const std::string& help, Count count,
           const std::string& shown_default, std::function<void(const Texts&, const std::string&)> set);
  void place(const std::string& name, const std::string& help, Count count,
             std::function<void(const Texts&, const std::string&)> set);
  void collect();
  void deal_positionals(Texts texts);
  Declared* find(const std::string& name);
  [[noreturn]] void refuse_option(const std::string& name) const;
  void print_help() const;

  const Verb& verb_;
  Texts arguments_;
  std::vector<Declared> declared_;
  CommonValues common_;
};

// One JSON value on stdout, for a program to read.
void print_json(const Json& value);
// The word that `word` was probably meant to be; empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& words);

// The program: finds the verb, runs it, turns what it throws into a sentence and an exit code.
int run_program(int argc, char** argv);

}  // namespace metvox
