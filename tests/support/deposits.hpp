// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>

#include "processes.hpp"
#include "transport/memory_watch.hpp"

// What the keeper holds for messages and items that are on their way.
namespace troupe::test {

/// How many descriptors it holds for readers.
[[nodiscard]] inline std::uint64_t deposits() {
  return detail::KeeperLink::of_process().value()->ask<control::Id>(control::Deposits{}).value().record.id;
}

/// Whether it comes to hold none: it hears of the others when it hears of them, not in the order in which we
/// do.
[[nodiscard]] inline bool none_left() {
  const TimePoint deadline = deadline_in(patience);
  while (deposits() != 0)
    if (Clock::now() >= deadline) return false;
  return true;
}

/// Hands `blob` to `use`, and watches its memory by nothing that counts as a holder.
template <class Use>
[[nodiscard]] MemoryWatch used(const Blob& blob, Use use) {
  DescriptorList list{1};
  std::array<std::byte, 16> bytes{};
  encode(blob, std::span{bytes}, &list).value();
  MemoryWatch watch{list.borrowed().front()};
  use(blob);
  return watch;
}

}  // namespace troupe::test
