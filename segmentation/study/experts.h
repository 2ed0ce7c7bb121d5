// SPDX-License-Identifier: Apache-2.0
// What experts say of a study's predictions. Luu et al. 2024 showed the test cases of two systems to radiologists but
// name no form: questions, blinding and evaluation are ours.
//
// experts/form/ goes to the experts: form.html to fill in (no network, no other file), form.csv for those who prefer a
// spreadsheet, CASE_A.nii.gz, ... to look at in 3D Slicer. Letters stand for systems, shuffled case by case.
// experts/key.csv says which; it stays.
//
// A form that somebody has begun to fill in is never changed. One that nobody has touched is written anew when the
// study's predictions are others than it shows; the key of the older one stays as experts/keys/FORM.csv, so that
// answers which come back to it can be read. A judgement counts as long as the prediction that it is about is the
// study's.
#pragma once
#include <functional>

#include "io/csv.h"
#include "segmentation/study/config.h"

namespace metvox {

enum class AnswerKind { grade, count, choice, text };  // 1 to 5; 0 to 999; one of a few words; up to 2000 bytes

struct ExpertQuestion {
  std::string name;  // the column
  std::string words;
  AnswerKind kind;
  std::vector<std::string> choices;  // of a choice
};
const std::vector<ExpertQuestion>& expert_questions();

// A hash of the voxels that a system predicted of a case; empty where there is no such file.
using PredictionHash = std::function<std::string(const std::string& system, const std::string& sample)>;
PredictionHash prediction_hash_in(const Path& study);

struct ExpertKey {
  struct Shown {
    std::string system, prediction;  // MODEL-REGIME; the hash of what is shown
    bool operator==(const Shown&) const = default;
  };
  std::string form;                  // which form this is: a hash; answers to an unknown one are refused
  std::vector<std::string> systems;  // sorted
  std::vector<std::string> samples;
  std::vector<std::vector<Shown>> order;  // by sample: what stands behind A, B, ...
  // Throws Error (Fault::input) where there is no such letter.
  const Shown& shown(size_t sample, const std::string& letter, const std::string& where) const;
};
ExpertKey make_expert_key(const std::string& study_hash, const std::vector<std::string>& systems,
                          const std::vector<std::string>& samples, uint64_t seed, const PredictionHash& hash);
void write_expert_key(const ExpertKey& key, const Path& path);
ExpertKey read_expert_key(const Path& path);
std::string expert_letter(size_t place);  // A, B, ...
// What of the form is not as the study is now: sentences' parts, such as "case_1 is not in it".
std::vector<std::string> stale_parts(const ExpertKey& key, const std::vector<std::string>& samples,
                                     const PredictionHash& hash);
// Has somebody begun to fill in the form of this key, or were answers read? Then experts/form holds a file that metvox
// did not write, or another form.csv.
bool form_is_begun(const ExpertKey& key, const Path& study);
// experts/form/form.csv with nothing filled in.
CsvTable blank_form(const ExpertKey& key);

// One expert about one prediction. Cells are checked; empty: not answered.
struct ExpertRating {
  std::string expert, sample, system;
  std::string prediction;            // the hash of what was judged
  std::vector<std::string> answers;  // in the order of expert_questions()
};
// A filled form of one of the keys, as form.html saves it. Throws Error (Fault::input) naming file, line and column: a
// form that none of them is of, a prediction that was not asked about or is there twice, an answer that is none, no
// name, nothing answered.
std::vector<ExpertRating> read_expert_answers(const Path& path, const std::vector<ExpertKey>& keys);

// Files of all experts: one prediction judged twice by one expert is refused. Writes experts/ratings.csv, unblinded,
// and experts/agreement.csv, of what counts.
std::vector<ExpertRating> gather_expert_answers(const std::vector<Path>& files, const Path& study);
// experts/ratings.csv; empty where it is not there.
std::vector<ExpertRating> read_expert_ratings(const Path& study);
// Takes those out whose prediction is not the study's any more, and returns them.
std::vector<ExpertRating> take_outdated(std::vector<ExpertRating>& ratings, const PredictionHash& hash);

// Two experts about the same predictions. Kappa is NaN where both always say one thing.
struct ExpertAgreement {
  std::string first, second, question;
  int64_t n = 0;     // predictions that both answered
  double equal = 0;  // share of equal answers
  double kappa = 0;  // Cohen's; of grades with quadratic weights
};
std::vector<ExpertAgreement> expert_agreement(const std::vector<ExpertRating>& ratings);

struct ExpertFormOptions {
  std::vector<std::string> systems = {};  // empty: the two with the highest mean Dice over et, tc, wt
  std::optional<uint64_t> seed = {};      // of the shuffling; else the study's
};
struct ExpertForm {
  ExpertKey key = {};
  bool anew = false;                    // instead of an older one that nobody had touched
  std::vector<std::string> stale = {};  // parts of a form that stays since it is begun
};
// Writes experts/form/ and then experts/key.csv, where no form is there that shows the study's predictions, or is
// begun. Where the systems or the seed that are asked for differ from a form that is begun, Error (Fault::usage).
// Throws Error (Fault::input) without scores.
ExpertForm write_expert_form(const StudyConfig& config, const Path& study, const ExpertFormOptions& options);

}  // namespace metvox
