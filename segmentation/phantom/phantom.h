// SPDX-License-Identifier: Apache-2.0
// Synthetic four-sequence heads with metastases (phantom.md). Same seed and options give the same voxels at any thread
// count. Labels are exact: 1 NETC, 2 SNFH, 3 ET. Phantoms are not patients.
#pragma once
#include <string>
#include <vector>

#include "io/files.h"
#include "io/volume.h"

namespace metvox {

struct PhantomOptions {
  int64_t cases = 1;
  uint64_t seed = 0;
  std::string domain = "public";                    // public (A) or private (B)
  std::array<int64_t, 3> size{152, 184, 150};       // file order (x, y, z); another size keeps the head, enlarging voxels
  std::vector<Path> label_maps;                     // empty: analytic anatomy (grade P); else grade S, case i uses map i mod n
};

struct PhantomLesion {
  int id = 0;
  std::array<double, 3> centre_mm{};                // world, R A S
  double radius_mm = 0;
  std::array<double, 4> volume_mm3{};               // [0] all, then by label 1, 2, 3
};

struct PhantomCase {
  std::string id;
  std::array<Tensor, 4> sequences;                  // T1C, T1N, T2F, T2W: i16 (z, y, x)
  Tensor labels;                                    // u8 (z, y, x)
  Geometry geometry;
  std::vector<PhantomLesion> lesions;               // none smaller than a voxel
};
PhantomCase make_phantom(const PhantomOptions& options, int64_t index);

// Writes the cohort: "nnunet" makes DIR a raw data set (dataset.json, imagesTr, labelsTr), "brats" a folder a case. Also
// lesions.csv and phantom.json (options, seed, version). Cases that exist whole are kept. progress(done, total).
void write_phantoms(const Path& dir, const PhantomOptions& options, const std::string& layout,
                    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace metvox
