// SPDX-License-Identifier: MIT
#pragma once
// Internal. Sleeping on a word of shared memory.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <troupe/transport/clock.hpp>

namespace troupe::detail {

/// A word that any process which maps it may change, and sleep on.
using FutexWord = std::atomic<std::uint32_t>;
static_assert(FutexWord::is_always_lock_free && sizeof(FutexWord) == sizeof(std::uint32_t));

/// Nobody sleeps longer without a look: who was to wake him may have been killed before it could, and half of
/// the 100 ms that are promised is left for what the look finds.
inline constexpr Duration look_again_after = std::chrono::milliseconds{50};

/// Sleeps while `word` is `expected`, until `deadline` at the latest. Returns early whenever it likes.
void futex_wait(const FutexWord& word, std::uint32_t expected, TimePoint deadline) noexcept;

inline constexpr std::uint32_t everybody = std::numeric_limits<std::int32_t>::max();
/// Returns how many it woke.
std::uint32_t futex_wake(const FutexWord& word, std::uint32_t sleepers_max) noexcept;

/// An event count: whoever changes what others wait for moves it and then wakes. It counts in twos; the
/// lowest bit says that somebody may sleep, so that announcing to nobody costs no call. A death can at worst
/// leave a sleeper without that bit, until he looks again.
class EventCount {
 public:
  /// Until `something` is true; false at the deadline, never before. `something` is also asked when nobody
  /// has announced anything, every look_again_after.
  template <class Something>
  [[nodiscard]] bool wait(Deadline& deadline, Something something) {
    for (;;) {
      std::uint32_t seen = word_.load(std::memory_order_acquire);
      if (something()) return true;
      if (deadline.is_over()) return false;
      if (word_.compare_exchange_strong(seen, seen | sleeper))
        futex_wait(word_, seen | sleeper, std::min(deadline.at(), deadline_in(look_again_after)));
    }
  }
  /// Wakes at least so many of those that sleep.
  void announce(std::uint32_t sleepers_max = everybody) noexcept;
  /// Moves with each announce().
  [[nodiscard]] std::uint32_t now() const noexcept {
    return word_.load(std::memory_order_acquire) & ~sleeper;
  }

 private:
  static constexpr std::uint32_t sleeper = 1;
  static constexpr std::uint32_t step = 2;
  FutexWord word_;
};

}  // namespace troupe::detail
