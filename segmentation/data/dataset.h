// SPDX-License-Identifier: Apache-2.0
// Raw data on disk: nnU-Net raw data sets, BraTS-named folders, flat input folders. A case is found by its files and
// its sequences are matched to channel *names*, so CASE_0000.nii.gz and CASE-t1c.nii.gz are both understood (synonyms:
// t1c t1ce t1gd; t1n t1; t2w t2; t2f flair).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io/volume.h"
#include "segmentation/data/labels.h"

namespace metvox {

struct DatasetDescription {
  std::string name;                        // folder name, such as Dataset222_SBT
  std::vector<std::string> channel_names;  // in channel order
  Labels labels;
  int64_t num_training = 0;
  std::string file_ending = ".nii.gz";
  Json json;  // dataset.json as read
};
// The data set that BraTS-named folders stand for and that phantoms are: channels T1C T1N T2F T2W, regions WT TC ET.
DatasetDescription brats_description(const std::string& name);
DatasetDescription read_description(const Path& dataset_json);
DatasetDescription description_from_json(const Json& json, const Path& where);  // without a name

struct CaseFiles {
  std::string id;
  std::vector<Path> images;  // one a channel, in channel order
  Path label;                // empty when there is none
};

struct RawDataset {
  DatasetDescription description;
  std::vector<CaseFiles> training;    // sorted by id
  std::vector<CaseFiles> incomplete;  // cases left out, with the files that they have
};
// DIR holds dataset.json + imagesTr/ + labelsTr/, or BraTS-named files (flat or a folder a case). Cases with a missing
// sequence or label are named in `faults` (one sentence each) and left out; no case at all is an Error (Fault::input).
RawDataset open_raw_dataset(const Path& dir, std::vector<std::string>* faults);
// The same where no case need be complete.
RawDataset look_through_dataset(const Path& dir, std::vector<std::string>* faults);

// Cases to predict: flat or one folder a case, for the channels of a model.
std::vector<CaseFiles> find_inputs(const Path& dir, const std::vector<std::string>& channel_names,
                                   std::vector<std::string>* faults);
// The same where no case need be complete.
struct FoundInputs {
  std::vector<CaseFiles> complete, incomplete;
};
FoundInputs look_through_inputs(const Path& dir, const std::vector<std::string>& channel_names,
                                std::vector<std::string>* faults);
// Label files CASE.nii.gz or CASE-seg.nii.gz, flat or a folder a case: (case, path), sorted.
std::vector<std::pair<std::string, Path>> find_labels(const Path& dir);

// All sequences of a case on the grid of the first. A sequence on the same world lattice in another axis order is
// permuted to it; any other difference is an Error (Fault::input) that names every grid.
struct CaseImages {
  Tensor data;  // (C, z, y, x) f32, file order
  Geometry geometry;
  std::vector<std::string> warnings;
};
CaseImages read_case(const CaseFiles& files);
// One sequence as read_case reads it. Refuses what no network can make sense of: an image without any value but 0, a
// single row of voxels, a spacing or a field of view that no scanner has. Every voxel the same is a warning.
// `place` as for read_nifti.
Volume read_sequence(const Path& path, const Tensor& place = {});
// The part of it that needs no voxels.
Volume read_sequence_header(const Path& path);
// The same from volumes already read, one a path.
CaseImages join_sequences(const std::string& id, const std::vector<Path>& paths, std::vector<Volume> volumes);
// Labels of the case on that grid, u8 (z, y, x); values outside `labels` are an Error (Fault::input) that lists them.
Tensor read_case_labels(const CaseFiles& files, const Geometry& grid, const Labels& labels);
// That Error, for labels u8 already read from `path`.
void require_known_labels(const Tensor& voxels, const Labels& labels, const std::string& id, const Path& path);

// Patient of a case id: BraTS ids carry a time point at the end (BraTS-MET-00012-003 -> BraTS-MET-00012); else the id
// itself.
std::string patient_of(const std::string& case_id);

}  // namespace metvox
