// SPDX-License-Identifier: Apache-2.0
// Memory of the sim device for kernel tests, and the schedules under which a correct kernel gives one answer.
#pragma once
#include <string>
#include <vector>

#include "kernels/sim/memory.h"
#include "kernels/sim/simt.h"
#include "tensor/device.h"

namespace metvox {

template <class T>
class SimBuffer {
 public:
  SimBuffer(const std::string& name, size_t n)
      : n_(n), p_(static_cast<T*>(simt::device_allocate(n * sizeof(T), name))) {}
  SimBuffer(const std::string& name, const std::vector<T>& values) : SimBuffer(name, values.size()) {
    simt::device_copy(p_, values.data(), n_ * sizeof(T));
  }
  SimBuffer(const SimBuffer&) = delete;
  SimBuffer& operator=(const SimBuffer&) = delete;
  ~SimBuffer() { simt::device_free(p_); }

  T* data() { return p_; }
  SimBuffer& zero() {
    simt::device_fill(p_, 0, n_ * sizeof(T));
    return *this;
  }
  std::vector<T> host() const {
    std::vector<T> values(n_);
    simt::device_copy(values.data(), p_, n_ * sizeof(T));
    return values;
  }

 private:
  size_t n_;
  T* p_;
};

// f() under three schedules x three ways of asynchronous work.
template <class F>
void under_every_schedule(F&& f) {
  const simt::Options before = simt::options();
  for (auto schedule : {simt::Schedule::forward, simt::Schedule::reverse, simt::Schedule::seeded})
    for (auto async : {simt::Async::late, simt::Async::eager, simt::Async::seeded}) {
      simt::options().schedule = schedule;
      simt::options().async = async;
      f();
    }
  simt::options() = before;
}

}  // namespace metvox
