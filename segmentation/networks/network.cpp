// SPDX-License-Identifier: Apache-2.0
#include "segmentation/networks/network.h"

#include "layers/named.h"

namespace metvox {
namespace {

std::map<std::string, NetworkKind>& registry() {
  static std::map<std::string, NetworkKind> all;
  return all;
}

}  // namespace

NetworkEntry::NetworkEntry(std::string name, NetworkKind kind) { registry().emplace(std::move(name), kind); }
const std::map<std::string, NetworkKind>& networks() { return registry(); }

const NetworkKind& find_network(const std::string& name) { return find_named(registry(), "network", name); }

}  // namespace metvox
