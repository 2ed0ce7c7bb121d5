// SPDX-License-Identifier: Apache-2.0
// Vendors' libraries, opened while the program runs and never linked: a program that links one does not start where it
// is absent. Each has a table of functions, typed from its headers; see cudnn/library.h.
#pragma once
#include <map>
#include <string>

#include "tensor/device.h"
#include "tensor/error.h"

namespace metvox {

class SharedLibrary {
 public:
  // Opened for good; where it is not to be had, why() says so.
  explicit SharedLibrary(const std::string& name);
  const std::string& why() const { return why_; }  // empty: all is well

  // Without that symbol why() says so and the function is nullptr.
  template <class Function>
  void find(Function*& function, const char* symbol) {
    function = reinterpret_cast<Function*>(address(symbol));
  }

 private:
  void* address(const char* symbol);
  std::string name_, why_;
  void* library_ = nullptr;
};

// The calling thread's handle of a library on a device, made at its first use; `why` is the library's. Handles are
// never destroyed: at exit the driver may be gone before them.
template <class Handle, class Make>
Handle device_handle(Device device, const std::string& why, Make make) {
  static thread_local std::map<int, Handle> handles;
  Handle& mine = handles[device.index];
  if (!mine) {
    check(why.empty(), why);
    mine = make();
  }
  return mine;
}

}  // namespace metvox
