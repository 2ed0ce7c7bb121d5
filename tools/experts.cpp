// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/study/experts.h"
#include "segmentation/study/report.h"
#include "tools/cli.h"

namespace metvox {
namespace {

int write_form(const CommandLine& line, const StudyConfig& config, const Path& study,
               const ExpertFormOptions& options) {
  const ExpertForm made = write_expert_form(config, study, options);
  const ExpertKey& key = made.key;
  const Path form = study / "experts" / "form" / "form.html";
  std::string names;
  for (const std::string& name : key.systems) names += (names.empty() ? "" : ", ") + name;
  if (made.anew)
    line.say("an older form, which nobody had begun to fill in, was replaced; answers to it can still be read");
  for (const std::string& part : made.stale) line.warn("the form is older than the study: ", part);
  if (!made.stale.empty())
    line.warn(
        "it stays, since experts have begun to fill it in, and what they say of the others counts; remove or "
        "rename ",
        (study / "experts").string(), " for a new one");
  line.say("hand out ", form.parent_path().string(), " (", names, ", ", counted(std::ssize(key.samples), "case"),
           "); keep ", (study / "experts" / "key.csv").string());
  if (line.values().json)
    print_json(
        {{"form", form.string()}, {"systems", key.systems}, {"cases", key.samples.size()}, {"stale", made.stale}});
  else std::printf("%s\n", form.c_str());
  return 0;
}

int read_answers(const CommandLine& line, const StudyConfig& config, const Path& study,
                 const std::vector<Path>& answers) {
  const std::vector<ExpertRating> ratings = gather_expert_answers(answers, study);
  write_study_report(config, study);
  std::vector<std::string> experts;
  for (const ExpertRating& r : ratings)
    if (std::find(experts.begin(), experts.end(), r.expert) == experts.end()) experts.push_back(r.expert);
  const Path page = study / "report" / "index.html";
  line.say(counted(std::ssize(ratings), "judgement"), " of ", counted(std::ssize(experts), "expert"),
           "; ratings.csv and agreement.csv are in ", (study / "experts").string());
  if (line.values().json) print_json({{"report", page.string()}, {"experts", experts}, {"judgements", ratings.size()}});
  else std::printf("%s\n", page.c_str());
  return 0;
}

int run(CommandLine& line) {
  Path study;
  ExpertFormOptions options;
  std::vector<Path> answers;
  line.positional("STUDY", study, "folder of `metvox study`, with scores");
  line.option("systems", options.systems, "MODEL-REGIME",
              "whose predictions the form shows; default: the two with the best mean Dice");
  line.option("answers", answers, "FILE.csv",
              "what experts saved, a file each: check it, evaluate it and write the report anew");
  line.common({Common::seed, Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  if (line.given("seed")) options.seed = line.values().seed;
  if (!answers.empty() && (!options.systems.empty() || options.seed))
    fail(Fault::usage, "--answers reads a form that was handed out; leave out --systems and --seed");
  const Path file = study / "study.json";
  const StudyConfig config = study_config(read_json(file), file);
  return answers.empty() ? write_form(line, config, study, options) : read_answers(line, config, study, answers);
}

const VerbEntry entry{{"experts", Stage::results,
                       "let experts judge a study's predictions without knowing whose they are",
                       "metvox experts study                          # study/experts/form: hand it out\n"
                       "metvox experts study --answers answers-*.csv  # what comes back",
                       run}};

}  // namespace
}  // namespace metvox
