// SPDX-License-Identifier: Apache-2.0
#include "kernels/shared_library.h"

#include <dlfcn.h>

#include "tensor/error.h"

namespace metvox {

SharedLibrary::SharedLibrary(const std::string& name)
    : name_(name), library_(dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
  if (library_) return;
  const char* reason = dlerror();
  why_ = sentence("no ", name, " on this machine (", reason ? reason : "no reason given", ")");
}

void* SharedLibrary::address(const char* symbol) {
  if (!library_) return nullptr;
  void* found = dlsym(library_, symbol);
  if (!found && why_.empty()) why_ = sentence(name_, " has no ", symbol, "; a newer one is needed");
  return found;
}

}  // namespace metvox
