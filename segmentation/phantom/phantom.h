// SPDX-License-Identifier: Apache-2.0
// Synthetic four-sequence heads with metastases. Same seed and options give the same voxels at any thread count, on one
// build. Labels are exact: 1 NETC, 2 SNFH, 3 ET. Phantoms are not patients: networks learn rules of contrast from them.
#pragma once
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "io/files.h"
#include "io/volume.h"

namespace metvox {

struct PhantomOptions {
  int64_t cases = 1;
  uint64_t seed = 0;
  std::string domain = "public";               // public: 1 mm slices, LPS; private: thick slices, noisier, shaded, RAS
  std::array<int64_t, 3> size{152, 184, 150};  // file order (x, y, z), 8 to 1024; another size keeps the head
  std::vector<Path> label_maps;  // empty: analytic anatomy (grade P); else grade S, case i uses map i mod n
};

// Measured on the label map; a voxel belongs to one lesion.
struct PhantomLesion {
  int id = 0;                          // 1, 2, ... within the case
  std::array<double, 3> centre_mm{};   // of the core (labels 1 and 3): world, R A S
  double radius_mm = 0;                // of the ball that has the core's volume
  std::array<double, 4> volume_mm3{};  // [0] all, then by label 1, 2, 3
};

struct PhantomCase {
  std::string id;
  std::array<Tensor, 4> sequences;  // T1C, T1N, T2F, T2W: i16 (z, y, x)
  Tensor labels;                    // u8 (z, y, x)
  Geometry geometry;
  std::vector<PhantomLesion> lesions;  // none smaller than a voxel
};
std::string phantom_id(int64_t index);  // phantom_0001 for index 0
// Throws Error: Fault::usage for options out of range, Fault::input for a label map that cannot be used.
PhantomCase make_phantom(const PhantomOptions& options, int64_t index);

// Writes the cohort: "nnunet" makes DIR a raw data set (dataset.json, imagesTr, labelsTr; cases phantom_0001, ...),
// "brats" a folder a case (BraTS-MET-90001-000, ...). Also lesions.csv and phantom.json (options, seed, version). Cases
// that exist whole are kept; a folder with phantoms of other options is refused (Fault::usage). progress(done, total)
// may be empty.
void write_phantoms(const Path& dir, const PhantomOptions& options, const std::string& layout,
                    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace metvox
