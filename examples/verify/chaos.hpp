// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <troupe/troupe.hpp>

#include "options.hpp"

namespace verify {

/// Kills, stops and crashes random actors of a node: --chaos so many a second, --deaths so many spread over
/// the work.
class Chaos {
 public:
  Chaos(const Options& options, troupe::TimePoint begin);

  /// When act() is next due by the clock; `never` if only progress of the work makes it so.
  [[nodiscard]] troupe::TimePoint next() const noexcept { return next_; }
  /// Strikes as often as is due. `fraction`: of the work that is done; `seen`: deaths that have happened.
  void act(troupe::Node& node, troupe::TimePoint now, double fraction, std::uint64_t seen);
  /// Whether all ordered deaths have happened.
  [[nodiscard]] bool is_satisfied(std::uint64_t seen) const noexcept { return seen >= deaths_; }

 private:
  bool strike(troupe::Node& node);
  void plan_next(troupe::TimePoint now);

  std::mt19937_64 random_;
  double per_second_;
  std::uint64_t deaths_;
  double seconds_min_;
  troupe::TimePoint begin_;
  troupe::TimePoint next_ = troupe::never;
  std::uint64_t struck_ = 0;  ///< ordered deaths that were dealt
  troupe::TimePoint last_strike_{};
};

}  // namespace verify
