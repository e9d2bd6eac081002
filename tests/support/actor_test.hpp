// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/troupe.hpp>

#include "leaves_nothing.hpp"
#include "node_watch.hpp"
#include "printing.hpp"
#include "wire.hpp"

namespace troupe::test {

/// A node, and the pipes by which its actors and the test wait for each other.
class ActorTest : public LeavesNothing {
 protected:
  Node node{};
  Inbox inbox{};
  Gate gate{};
};

inline constexpr Backoff at_once{.first = std::chrono::milliseconds{1}, .max = std::chrono::milliseconds{1}};

}  // namespace troupe::test
