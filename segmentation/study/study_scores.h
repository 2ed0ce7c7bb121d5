// SPDX-License-Identifier: Apache-2.0
// The score files of a study: one scores.csv (evaluation/scores.h) a system, all of the same cases, joined by case.
// What cannot be used is refused; what can be used only in part gets a note.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/files.h"

namespace metvox {

enum class Regime { fine_tuned, scratch };
std::string name_of(Regime regime);  // fine-tuned, scratch

struct ScoreFile {
  std::string model;
  Regime regime;
  Path path;
  std::string system() const { return model + ":" + name_of(regime); }
};

// Something that a number does not say by itself. Empty fields: it concerns all of them.
struct Note {
  std::string system, metric, sample, text;
};

struct SystemScores {
  std::string model;
  Regime regime;
  // By metric, in the order of StudyScores::samples. NaN: not defined (0 / 0, an empty cell, the distance between two
  // empty masks). Only distances are infinite: one of the masks is empty.
  std::map<std::string, std::vector<double>> values;
  std::string name() const { return model + ":" + name_of(regime); }
};

struct StudyScores {
  std::vector<std::string> samples;  // sorted, without .nii.gz
  std::vector<SystemScores> systems;
  std::vector<Note> notes;
  const SystemScores* find(const std::string& model, Regime regime) const;  // nullptr: not there
};

// The 18 columns of scores.csv beside sample: DICE_et, DICE_tc, DICE_wt, Hausdorff_et, ...
const std::vector<std::string>& study_metrics();
bool lower_is_better(const std::string& metric);

// Throws Error (Fault::input) naming file, line, case and column: a column or a case missing, a case twice, text for a
// number, a value that the metric cannot have.
StudyScores read_study_scores(const std::vector<ScoreFile>& files);

}  // namespace metvox
