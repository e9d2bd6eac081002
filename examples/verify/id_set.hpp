// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

namespace verify {

/// A set of entry ids as sorted runs: as small as the gaps in it are few, however many ids it holds.
struct IdSet {
  struct Run {
    std::uint64_t first = 0;
    std::uint64_t end = 0;  ///< one behind the last
    friend bool operator==(const Run&, const Run&) = default;
  };
  std::vector<Run> runs{};  ///< disjoint, not touching, ascending

  /// False if it was there already.
  bool add(std::uint64_t id);
  [[nodiscard]] bool contains(std::uint64_t id) const noexcept;
  [[nodiscard]] std::uint64_t size() const noexcept;
  friend bool operator==(const IdSet&, const IdSet&) = default;
};

}  // namespace verify
