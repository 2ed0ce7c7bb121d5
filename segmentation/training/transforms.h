// SPDX-License-Identifier: Apache-2.0
// The transforms of augmentation. Each is a struct of parameters with draw() (from random numbers) and apply() (to a
// patch), so that tests give parameters of their own. Source: MIC-DKFZ/batchgeneratorsv2, transforms/; where `rules`
// are bg1, MIC-DKFZ/batchgenerators 0.25.5, transforms/ and augmentations/.
#pragma once
#include <array>
#include <vector>

#include "segmentation/training/augment.h"

namespace metvox {

// Half the time uniform between low and 1, half between 1 and high.
double around_one(Random& random, double low, double high);

// Fills the patch from its window: x_window = centre + M (i - (n - 1) / 2) with M = Rz Ry Rx S over (z, y, x),
// trilinear, 0 outside; labels by the largest trilinear weight, the lowest label on ties. Without rotation and scaling
// the centre is copied. bg1: tricubic, and what lies beyond the window's outermost voxels is 0 and -1; its angles have
// the other sign, and the nearest voxel's label wins ties.
struct Spatial {
  std::array<double, 3> angles{};  // radians, about axes 0, 1, 2
  double scale = 1;                // above 1 a larger field is seen: objects shrink
  bool in_plane = false;
  Augmentation rules = Augmentation::bg2;
  static Spatial draw(Random& random, const PatchGeometry& geometry, Augmentation rules);
  std::array<Double3, 3> matrix() const;
  void apply(Patch& patch) const;
};

// A normal field of its own for each channel, times the same sigma.
struct Noise {
  double sigma = 0;
  uint64_t key = 0;  // names the field of channel 0
  static Noise draw(Random& random);
  void apply(Patch& patch) const;
};

struct Blur {
  std::vector<Double3> sigmas;  // voxels; a channel and axis, 0 leaves it
  Augmentation rules = Augmentation::bg2;
  static Blur draw(Random& random, int64_t channels, Augmentation rules);
  void apply(Patch& patch) const;
  // Normalised Gaussian taps, as many as the odd number nearest to 6 sigma + 0.5; bg1: of 4 sigma to either side.
  static std::vector<float> taps(double sigma, Augmentation rules);
};

struct Brightness {
  std::vector<double> factors;  // a channel
  static Brightness draw(Random& random, int64_t channels, Augmentation rules);
  void apply(Patch& patch) const;
};

// (x - mean) factor + mean, clipped to the channel's range.
struct Contrast {
  std::vector<double> factors;  // a channel
  static Contrast draw(Random& random, int64_t channels);
  void apply(Patch& patch) const;
};

// Down to round(extent * zoom) by the nearest voxel and back trilinearly; bg1: back by cubic splines.
struct LowResolution {
  std::vector<double> zooms;  // a channel, 1 leaves it
  bool in_plane = false;
  Augmentation rules = Augmentation::bg2;
  static LowResolution draw(Random& random, int64_t channels, bool in_plane, Augmentation rules);
  void apply(Patch& patch) const;
};

// ((x - min) / range)^gamma range + min, then mean and standard deviation as before; of -x when inverted.
struct Gamma {
  std::vector<double> exponents;  // a channel
  bool inverted = false;
  static Gamma draw(Random& random, int64_t channels, bool inverted);
  void apply(Patch& patch) const;
};

struct Mirror {
  std::array<bool, 3> axes{};
  static Mirror draw(Random& random);
  void apply(Patch& patch) const;
};

struct MaskImage {
  std::vector<bool> channels;
  void apply(Patch& patch) const;
};

// A cascade's own, on the labels of the previous stage, which is to be trusted less than it deserves. What becomes a
// label is no longer another; what is lost is background.
struct Morphology {
  enum class Operator { dilate, erode, close, open };
  struct Step {
    int8_t label = 1;
    Operator op = Operator::dilate;
    double radius = 1;  // voxels, of a ball as skimage.morphology.ball draws it, fractions too
  };
  std::vector<Step> steps;
  static Morphology draw(Random& random, int64_t labels);
  void apply(Patch& patch) const;
};

// One component (26 neighbours) of a label is lost, among those below 15 % of the patch.
struct LostComponents {
  struct Step {
    int8_t label = 1;
    double choice = 0;  // in [0, 1), among the components that may go, in the order of their first voxels
  };
  std::vector<Step> steps;
  static LostComponents draw(Random& random, int64_t labels);
  void apply(Patch& patch) const;
};

}  // namespace metvox
