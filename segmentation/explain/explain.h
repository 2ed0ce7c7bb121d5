// SPDX-License-Identifier: Apache-2.0
// Why a model answered what it did, case by case: maps on the images' own grid, a picture and a page. An extension of
// metvox: the transfer study that it follows names no such method.
#pragma once
#include <optional>

#include "segmentation/data/dataset.h"
#include "segmentation/explain/grad_cam.h"
#include "segmentation/explain/occlusion.h"
#include "segmentation/explain/uncertainty.h"

namespace metvox {

struct ExplainOptions {
  bool entropy = false, disagreement = false, errors = false;  // of every region
  bool occlusion = false, grad_cam = false;                    // of one lesion of `region`
  size_t region = 0;                                           // in Labels::foreground()
  // The lesion is the one with a voxel nearest to this point (world R, A, S), else the largest.
  std::optional<std::array<double, 3>> at_mm;
  Path previous_stage{};  // of a cascade: the folder of what `predict` with the previous stage wrote, CASE.nii.gz
};

// Of one case; what was not asked for is empty.
struct Explanation {
  Path folder;  // OUT/CASE
  Json numbers;
};

class Explainer {
 public:
  // The predictor and the Grad-CAM (empty unless asked for) are of `model`.
  Explainer(const ModelFolder& model, Predictor& predictor, GradCam* grad_cam, const ExplainOptions& options);

  // Writes OUT/CASE/: segmentation.nii.gz, MAP_REGION.nii.gz, overview.png, numbers.json. files.label is the truth, or
  // empty. Lesions are 26-connected components of the prediction and the truth together, on the grid that the network
  // sees. Warnings are sentences about the images. progress(share of the case).
  Explanation explain(const CaseFiles& files, const Path& out, std::vector<std::string>& warnings,
                      const std::function<void(double)>& progress);

 private:
  struct Case;
  void write_region_maps(Case& c);
  void explain_lesion(Case& c, const std::function<void(double)>& progress);
  void paint(const Case& c) const;

  const ModelFolder& model_;
  Predictor& predictor_;
  GradCam* grad_cam_;
  ExplainOptions options_;
};

// OUT/index.html about the cases explained: pictures, numbers, what each map is.
void write_explain_page(const Path& out, const std::vector<Explanation>& cases, const Json& config);

}  // namespace metvox
