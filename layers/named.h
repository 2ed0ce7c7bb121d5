// SPDX-License-Identifier: Apache-2.0
// Things that command lines, plans and checkpoints find by name: losses, optimizers, networks.
#pragma once
#include <map>
#include <string>

#include "tensor/error.h"

namespace metvox {

// "dice-bce, dice-ce, tversky-bce"
template <class Thing>
std::string names_of(const std::map<std::string, Thing>& all) {
  std::string names;
  for (const auto& entry : all) names += (names.empty() ? "" : ", ") + entry.first;
  return names;
}

// Throws Error (Fault::usage) that lists the names there are; `kind` is what they are names of.
template <class Thing>
const Thing& find_named(const std::map<std::string, Thing>& all, const char* kind, const std::string& name) {
  const auto found = all.find(name);
  if (found == all.end()) fail(Fault::usage, "there is no ", kind, " named \"", name, "\"; there are ", names_of(all));
  return found->second;
}

}  // namespace metvox
