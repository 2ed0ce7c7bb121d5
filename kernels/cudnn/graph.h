// SPDX-License-Identifier: Apache-2.0
// One convolution as a graph of cuDNN: which ways it knows to compute it (configurations of its engines), and a plan
// made of one of them. Channels-last images and filters (k, kd, kh, kw, c), sums in float.
#pragma once
#include "kernels/cudnn/library.h"
#if METVOX_CUDNN
#include <memory>
#include <vector>

#include "kernels/conv3d.h"

namespace metvox::cudnn {

enum class Pass { forward, backward_data, backward_weights };

// A pass computes y, x or w from the two others, all of p.dtype (cuDNN has no f32 gradient of bf16 weights). One input:
// p.c2 is 0; p.bias is not heeded.
struct Convolution {
  Conv3dProblem p;
  Pass pass = Pass::forward;
  bool adds = false;  // to what the result's memory holds
  bool any =
      false;  // also by ways that may not repeat the result bit by bit, or that round more than the types ask for
};

// Attributes are set, finalize()d, and read thereafter.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  cudnnBackendDescriptor_t get() const { return owned_.get(); }
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void* values);
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void finalize(const char* doing);
  // How many of at most `room` values there are.
  int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, void* values) const;

 private:
  struct Destroy {
    void operator()(void* d) const { library().destroy_descriptor(d); }
  };
  std::unique_ptr<void, Destroy> owned_;
};

// Where it will run: on the device of a handle, or on one that is only described (which needs no device here).
struct Place {
  cudnnHandle_t handle = nullptr;
  const Descriptor* described = nullptr;
};

// One way to compute a convolution. The name tells the engine and its settings, such as "eng34 k2=5 k27=1", and is
// the same from run to run of one version of cuDNN; it ends in "varies" and "rounds" where Convolution::any let in what
// does.
struct Config {
  std::string name;
  Descriptor descriptor;
};

// Best guess first.
// Throws Error where cuDNN takes no such convolution.
std::vector<Config> configs(const Convolution&, const Place&);

class Plan {
 public:
  // Throws Error where cuDNN cannot after all.
  Plan(const Config&, const Place&);
  size_t workspace_bytes() const { return workspace_bytes_; }
  void run(Stream&, const void* x, const void* w, const void* y, void* workspace) const;

 private:
  Descriptor plan_;
  size_t workspace_bytes_ = 0;
};

}  // namespace metvox::cudnn
#endif
