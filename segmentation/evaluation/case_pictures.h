// SPDX-License-Identifier: Apache-2.0
// Pictures of a predicted case for reports: the sequences that show it best, alone and with regions outlined.
#pragma once
#include <map>

#include "segmentation/evaluation/slices.h"

namespace metvox {

// The first sequence (T1 after contrast in metastasis data), which shows the core, and FLAIR, where there is one, which
// shows oedema.
struct CasePaths {
  Path prediction, truth;
  std::vector<Path> images;
  std::vector<std::string> names;  // of the sequences
};
// By case; folders as predict and evaluate take them.
std::map<std::string, CasePaths> find_case_paths(const Path& predictions, const Path& truths, const Path& images);

class CasePictures {
 public:
  // Throws Error (Fault::input) that names what is missing or lies on another grid.
  CasePictures(const std::string& sample, const CasePaths& paths);

  // A row a sequence: axial slice alone, then axial, coronal and sagittal ones with outlines, through the middle of the
  // largest lesion.
  Picture planes(int height) const;
  // One row: of each sequence the axial slice that cuts the lesions widest, alone and with outlines.
  Picture row(int height) const;
  // Around a point in mm (world R, A, S) on the first sequence, alone and with the core outlined.
  Picture close_up(const std::array<double, 3>& centre_mm, double field_mm, int height) const;

 private:
  Double3 widest_slice() const;
  CaseVolumes volumes_;
  std::vector<SliceContent> contents_;
  SlicePainter painter_;
  Double3 middle_{};  // of the largest lesion
};

// The picture with a line below that says what the outlines are.
Picture with_legend(const Picture& picture);

}  // namespace metvox
