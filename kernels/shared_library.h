// SPDX-License-Identifier: Apache-2.0
// Vendors' libraries, opened while the program runs and never linked: a program that links one does not start where it
// is absent. Each has a table of functions, typed from its headers; see cudnn/library.h.
#pragma once
#include <string>

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

}  // namespace metvox
