// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

#include "id_set.hpp"
#include "md5.hpp"

namespace verify {

/// What one pass came to, entry by entry.
struct PassResult {
  IdSet differing{};
  IdSet missing{};
  IdSet unreadable{};
  IdSet seen{};
  std::uint64_t entries = 0;
  friend bool operator==(const PassResult&, const PassResult&) = default;

  [[nodiscard]] std::optional<Verdict> verdict(std::uint64_t id) const {
    if (!seen.contains(id)) return std::nullopt;
    if (differing.contains(id)) return Verdict::differing;
    if (missing.contains(id)) return Verdict::missing;
    return unreadable.contains(id) ? Verdict::unreadable : Verdict::ok;
  }
};

}  // namespace verify
