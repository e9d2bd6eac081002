// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace troupe::test {

/// What the world outside has seen of one row of numbered messages, 1, 2, 3, …: a handler's effects, which no
/// death undoes. In shared memory (shared_value.hpp); written by the row's receiver, read by the test.
struct Witness {
  std::atomic<std::uint64_t> last{0};  ///< number of the last message whose handler had its effect
  std::atomic<std::uint64_t> repeated{0};
  std::atomic<std::uint64_t> unmarked{0};  ///< repeated without an attempt count that says so
  std::atomic<std::uint64_t> skipped{0};
  std::atomic<std::uint64_t> reordered{0};
  std::atomic<std::uint64_t> torn{0};

  /// The effect of one message. It comes before the long part, the look at the bytes, so that deaths in
  /// between are frequent: they repeat a message.
  void see(std::uint64_t number, std::uint32_t attempt) {
    const auto before = last.load();
    if (number == before) {
      ++repeated;
      if (attempt < 2) ++unmarked;
    } else if (number < before) {
      ++reordered;
    } else if (number > before + 1) {
      ++skipped;
    }
    last = number;
  }
};

/// What several rows have seen together.
struct WitnessSum {
  explicit WitnessSum(std::span<const Witness> rows);
  /// One line.
  void print(const char* what, std::size_t kills) const;
  /// Every row moved; nothing lost, torn, out of order, or repeated unmarked or more often than that.
  void expect_sound(std::uint64_t repeats_max) const;

  std::uint64_t messages = 0;
  std::uint64_t repeated = 0;
  std::uint64_t unmarked = 0;
  std::uint64_t skipped = 0;
  std::uint64_t reordered = 0;
  std::uint64_t torn = 0;
  std::size_t idle = 0;  ///< rows in which nothing was ever seen
};

}  // namespace troupe::test
