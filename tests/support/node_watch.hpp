// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <troupe/actors/node.hpp>
#include <troupe/runtime/keeper_link.hpp>
#include <vector>

#include "processes.hpp"

// How a test of actors sees what its node does: by the keeper's own notices, not by looking every so often.
namespace troupe::test {

/// Waits until `done` is true; looks again whenever the keeper has said that something has changed.
template <class Predicate>
[[nodiscard]] bool eventually(Predicate done) {
  return detail::KeeperLink::of_process().value()->wait_until(deadline_in(patience), done).has_value();
}

[[nodiscard]] inline std::optional<ChildInfo> child(const Node& node, std::string_view name) {
  for (ChildInfo& info : node.children().value())
    if (info.name == name) return std::move(info);
  return std::nullopt;
}

[[nodiscard]] inline bool reaches(const Node& node, std::string_view name, supervision::ChildState state,
                                  std::uint32_t incarnation = 1) {
  return eventually([&] {
    const auto info = child(node, name);
    return info && info->state == state && info->incarnation >= incarnation;
  });
}

/// Every death that the node remembers, in order.
[[nodiscard]] inline std::vector<Transition> deaths(const Node& node) {
  auto all = node.history().value().transitions;
  std::erase_if(all, [](const Transition& one) { return one.to != supervision::ChildState::clearing; });
  return all;
}

}  // namespace troupe::test
