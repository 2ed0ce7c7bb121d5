// SPDX-License-Identifier: Apache-2.0
// From argc and argv to an exit code: finds the verb, catches what it throws, cleans up on a signal.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>

#include "kernels/trial_guard.h"
#include "tools/cli.h"
#include "tools/machine.h"

namespace metvox {
namespace {

std::vector<Verb>& verbs() {
  static std::vector<Verb> all;
  return all;
}

// Async-signal-safe throughout.
extern "C" void on_signal(int number) {
  remove_temporaries();
  clear_trial_mark();
  const char* text = number == SIGINT    ? "\nmetvox: interrupted; finished files are kept, unfinished ones removed\n"
                     : number == SIGTERM ? "\nmetvox: terminated; finished files are kept, unfinished ones removed\n"
                                         : "";
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) _exit(128 + number);
  _exit(128 + number);
}

// A standard stream that the caller has closed would lend its number to the next file, which messages would then be
// written into. So it is taken, by what can neither be read nor written.
void occupy_standard_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(number, F_GETFD) < 0 && open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY) != number)
      _exit(code(Fault::internal));
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigfillset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);  // nohup stays nohup
  }
  signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error of write(), with a sentence
}

// The order of work, in which verbs are listed; one that is not named here comes last in its stage.
size_t place_of(const Verb& verb) {
  static const std::vector<std::string> workflow{"phantom",    "check",     "plan",    "preprocess", "train",
                                                 "accumulate", "find-best", "predict", "ensemble",   "postprocess",
                                                 "import",     "export",    "verify",  "evaluate",   "compare",
                                                 "report",     "explain",   "inspect", "bench",      "devices"};
  return static_cast<size_t>(std::find(workflow.begin(), workflow.end(), verb.name) - workflow.begin());
}

void print_help(FILE* to) {
  std::fprintf(to,
               "metvox finds and outlines brain metastases in MRI.\n\nUsage: metvox VERB [options]; metvox VERB --help "
               "shows an example\n");
  std::vector<Verb> sorted = verbs();
  std::sort(sorted.begin(), sorted.end(), [](const Verb& a, const Verb& b) {
    return std::tuple(a.stage, place_of(a), a.name) < std::tuple(b.stage, place_of(b), b.name);
  });
  const char* titles[] = {"Data", "Models", "Results", "Machine"};
  const Verb* last = nullptr;
  for (const Verb& verb : sorted) {
    if (!last || last->stage != verb.stage) std::fprintf(to, "\n%s\n", titles[static_cast<int>(verb.stage)]);
    std::fprintf(to, "  %-12s %s\n", verb.name.c_str(), verb.summary.c_str());
    last = &verb;
  }
  std::fprintf(to,
               "\n  --version    version and engines of this program\n\n"
               "Exit codes: 0 done, 1 internal error, 2 usage, 3 bad input, 4 out of memory, 5 some cases failed,\n"
               "6 a verification failed, 130/143 stopped by a signal. Not a medical device.\n");
}

int complain(const std::string& where, const std::string& text, Fault fault) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: %s\n", where.c_str(), text.c_str());
  return code(fault);
}

int run_verb(const Verb& verb, std::vector<std::string> arguments) {
  const std::string where = "metvox " + verb.name;
  try {
    CommandLine line(verb, std::move(arguments));
    return verb.run(line);
  } catch (const Error& e) {
    return complain(where, e.what(), e.fault());
  } catch (const std::bad_alloc&) {
    return complain(where, "out of memory; give it fewer --threads, a smaller patch or a machine with more",
                    Fault::memory);
  } catch (const std::filesystem::filesystem_error& e) {
    return complain(where, sentence(e.path1().string(), ": ", e.code().message()), Fault::input);
  } catch (const std::exception& e) {
    return complain(where, sentence("internal error: ", e.what()), Fault::internal);
  }
}

int run_arguments(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    print_help(stderr);
    return code(Fault::usage);
  }
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    print_help(stdout);
    return 0;
  }
  if (arguments[0] == "--version") {
    std::printf("metvox %s (%s)\n", METVOX_VERSION, engines_line().c_str());
    return 0;
  }
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    if (verb.name == arguments[0]) return run_verb(verb, {arguments.begin() + 1, arguments.end()});
    names.push_back(verb.name);
  }
  names.insert(names.end(), {"--help", "--version"});
  const std::string guess = nearest(arguments[0], names);
  return complain("metvox",
                  sentence("there is no ", arguments[0].starts_with('-') ? "option " : "verb ", '"', arguments[0], '"',
                           guess.empty() ? ";" : "; did you mean " + guess + "?",
                           " metvox --help lists the verbs, which come first"),
                  Fault::usage);
}

}  // namespace

VerbEntry::VerbEntry(Verb verb) { verbs().push_back(std::move(verb)); }

int run_program(int argc, char** argv) {
  occupy_standard_streams();
  watch_signals();
  const int result = run_arguments({argv + std::min(argc, 1), argv + argc});
  // A write that failed before this last one has left its mark too, but not its reason.
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return result;
  const int unwritten = complain(
      "metvox", sentence("cannot write to standard output", flushed ? "" : sentence(": ", std::strerror(errno))),
      Fault::input);
  return result == 0 ? unwritten : result;
}

}  // namespace metvox
