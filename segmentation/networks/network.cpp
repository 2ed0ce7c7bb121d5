// SPDX-License-Identifier: Apache-2.0
#include "segmentation/networks/network.h"

namespace metvox {
namespace {

std::map<std::string, NetworkKind>& registry() {
  static std::map<std::string, NetworkKind> all;
  return all;
}

}  // namespace

NetworkEntry::NetworkEntry(std::string name, NetworkKind kind) { registry().emplace(std::move(name), kind); }
const std::map<std::string, NetworkKind>& networks() { return registry(); }

const NetworkKind& find_network(const std::string& name) {
  auto it = registry().find(name);
  if (it != registry().end()) return it->second;
  std::string names;
  for (const auto& entry : registry()) names += (names.empty() ? "" : ", ") + entry.first;
  fail(Fault::usage, "there is no network named \"", name, "\"; there are ", names);
}

}  // namespace metvox
