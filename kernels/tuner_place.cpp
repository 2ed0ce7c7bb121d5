// SPDX-License-Identifier: Apache-2.0
// The part of a tuner's key that says where a choice holds.
#include <fstream>

#include "kernels/cublas/library.h"
#include "kernels/cudnn/library.h"
#include "kernels/kernels_digest.h"
#include "kernels/shared_library.h"
#include "kernels/tuner.h"
#if METVOX_CUDA
#include <cuda_runtime_api.h>
#endif

namespace metvox {
namespace {

// As NVIDIA's tools name it, "580.65.06": of the management library, which comes with the driver, or of the kernel's
// module where a container lacks that; "" without either.
std::string driver_release() {
  SharedLibrary nvml("libnvidia-ml.so.1");
  int (*begin)() = nullptr;
  int (*get_version)(char* text, unsigned bytes) = nullptr;
  nvml.find(begin, "nvmlInit_v2");
  nvml.find(get_version, "nvmlSystemGetDriverVersion");
  char text[80] = "";
  if (nvml.why().empty() && begin() == 0 && get_version(text, sizeof text) == 0) return text;
  std::string line;
  std::getline(std::ifstream("/sys/module/nvidia/version"), line);
  return line;
}

// Versions of what a GPU's engines are made of.
std::string libraries() {
  std::string text = sentence(" driver ", driver_release());
#if METVOX_CUDA
  int version = 0;
  if (cudaDriverGetVersion(&version) == cudaSuccess) text += sentence(" cuda ", version);
#endif
#if METVOX_CUBLAS
  if (cublas::library().why.empty()) text += " cublas " + cublas::library().version();
#endif
#if METVOX_CUDNN
  if (cudnn::library().why.empty()) text += sentence(" cudnn ", cudnn::library().get_version());
#endif
  return text;
}

}  // namespace

std::string tuner_place(Device device) {
  static std::mutex mutex;
  static std::map<Device, std::string> places;
  const std::lock_guard lock(mutex);
  std::string& place = places[device];
  if (!place.empty()) return place;
  std::string text = "cpu";
  if (!device.is_cpu()) {
    const DeviceFacts facts = driver(device).facts(device.index);
    text = sentence(facts.model, " sm_", facts.arch / 10);
  }
  text += sentence(" metvox ", METVOX_VERSION, " kernels ", kKernelsDigest);
  if (device.kind == Device::Kind::cuda) text += libraries();
  return place = text;
}

}  // namespace metvox
