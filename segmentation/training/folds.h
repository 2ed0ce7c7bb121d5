// SPDX-License-Identifier: Apache-2.0
// Folds of a cross-validation, as nnU-Net draws and stores them (splits_final.json), or with the time points of one
// patient kept together.
#pragma once
#include <string>
#include <vector>

#include "io/json.h"

namespace metvox {

struct Fold {
  std::vector<std::string> train, val;  // case ids, sorted
};

enum class GroupBy { patient, none };
GroupBy group_by_from(const std::string& name);  // "patient" or "none", else an Error (Fault::usage)

// scikit-learn's KFold(5, shuffle, random_state = seed) over n things: the indices of each validation set, sorted.
std::vector<std::vector<int64_t>> kfold(int64_t n, int folds, uint32_t seed);

// Five folds, seed 12345, over patients (patient_of(id)) or cases; the same when every patient has one case. Fewer than
// five groups give as many folds as there are groups; one group is an Error (Fault::input).
std::vector<Fold> make_folds(const std::vector<std::string>& ids, GroupBy group_by);

struct ChosenFold {
  Fold fold;
  std::string name;                   // "all", or the number without leading zeros
  bool listed = false;                // it stands in a file that was there
  bool random = false;                // a number beyond the folds that there are
  std::vector<Fold> to_write;         // for write_folds() before the fold is used: there is no file yet
  std::vector<std::string> left_out;  // cases on neither side, sorted
};

// `name` is "all" (every case in both), a fold of PREPROCESSED/splits_final.json, or a number beyond it (a random 80:20
// split of its own). The file is honoured as it stands: a case of it that has no preprocessed file is an Error
// (Fault::input). Without it the folds are made from `ids`. group_by counts where folds are made or split. Writes
// nothing.
ChosenFold choose_fold(const Path& splits_json, const std::vector<std::string>& ids, const std::string& name,
                       GroupBy group_by);
void write_folds(const Path& splits_json, const std::vector<Fold>& folds);

}  // namespace metvox
