// SPDX-License-Identifier: Apache-2.0
// Segmentations as viewers like them: names and colours of labels for 3D Slicer, ITK-SNAP and niivue, regions that
// overlap as one .seg.nrrd, and a map with a number for each lesion.
#pragma once
#include "io/png.h"
#include "io/volume.h"
#include "segmentation/data/labels.h"

namespace metvox {

struct ViewerLabel {
  int value = 0;
  std::string name;
  Rgb colour{};
};

// One a value that a voxel can have, without background and ignored ones. Values of regions are named as BraTS does
// where the regions are those of BraTS (1 NETC, 2 SNFH, 3 ET), else after the regions that hold them ("WT+TC").
std::vector<ViewerLabel> viewer_labels(const Labels& labels);

// ITK-SNAP's label description; also what stands in the NIfTI files that metvox writes, as a comment.
std::string label_description(const std::vector<ViewerLabel>& labels);

// labels.ctbl (3D Slicer), labels.txt (ITK-SNAP), labels-niivue.json (niivue's setColormapLabel) in `out`.
void write_colour_tables(const std::vector<ViewerLabel>& labels, const Path& out);

struct ViewerFiles {
  Path segmentation;  // OUT/CASE.nii.gz, with names and colours in its header
  Path regions;       // OUT/CASE.seg.nrrd: a segment a region or label
  Path instances;     // OUT/CASE_instances.nii.gz
  int64_t lesions = 0;
};

// Labels u8 (z, y, x) on the grid. Lesions are numbered as in evaluate's lesions.csv: 26-connected components of the
// tumour core {1, 3} where there are BraTS labels, else of everything that has a label.
ViewerFiles write_viewer_files(const std::string& sample, const Tensor& voxels, const Geometry& grid,
                               const Labels& labels, const Path& out);

}  // namespace metvox
