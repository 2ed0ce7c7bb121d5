// SPDX-License-Identifier: Apache-2.0
// What experts say of a study's predictions. Luu et al. 2024 showed the test cases of two systems to radiologists but
// name no form: questions, blinding and evaluation are ours.
//
// experts/form/ goes to the experts: form.html to fill in (no network, no other file), form.csv for those who prefer a
// spreadsheet, CASE_A.nii.gz, ... to look at in 3D Slicer. Letters stand for systems, shuffled case by case.
// experts/key.csv says which; it stays.
#pragma once
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

struct ExpertKey {
  std::string form;                  // which form this is: a hash; answers to another one are refused
  std::vector<std::string> systems;  // MODEL-REGIME
  std::vector<std::string> samples;
  std::vector<std::vector<std::string>> order;  // by sample: the systems behind A, B, ...
  // Throws Error (Fault::input) where there is no such letter.
  const std::string& system(size_t sample, const std::string& letter, const std::string& where) const;
};
ExpertKey make_expert_key(const std::string& study_hash, const std::vector<std::string>& systems,
                          const std::vector<std::string>& samples, uint64_t seed);
void write_expert_key(const ExpertKey& key, const Path& path);
ExpertKey read_expert_key(const Path& path);

// One expert about one prediction. Cells are checked; empty: not answered.
struct ExpertRating {
  std::string expert, sample, system;
  std::vector<std::string> answers;  // in the order of expert_questions()
};
// A filled form, as form.html saves it. Throws Error (Fault::input) naming file, line and column: another form, a
// prediction that was not asked about or is there twice, an answer that is none, no name, nothing answered.
std::vector<ExpertRating> read_expert_answers(const Path& path, const ExpertKey& key);

// Files of all experts: one expert twice is refused. Writes experts/ratings.csv, unblinded, and experts/agreement.csv.
std::vector<ExpertRating> gather_expert_answers(const std::vector<Path>& files, const Path& study);
// experts/ratings.csv; empty where it is not there.
std::vector<ExpertRating> read_expert_ratings(const Path& study);

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
// Writes experts/form/ and then experts/key.csv. A form that was written before stays what it was: where the systems or
// the seed that are asked for differ, Error (Fault::usage). Throws Error (Fault::input) without scores.
ExpertKey write_expert_form(const StudyConfig& config, const Path& study, const ExpertFormOptions& options);

}  // namespace metvox
