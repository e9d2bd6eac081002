// SPDX-License-Identifier: MIT
#pragma once
// Internal. Looking again and again before sleeping, where that is worth it.

#include <algorithm>
#include <troupe/transport/clock.hpp>
#include <utility>

namespace troupe::detail {

/// Spins for as long as waking a sleeper on another core takes: then the two cost the same at worst (ski
/// rental; Karlin et al., Competitive Randomized Algorithms for Nonuniform Problems, SODA 1990).
///
/// Not on one core, and not for a while after a spin has cost somebody else the core. Every look takes a
/// cache line from whoever writes it, so who was found at once last time is first left alone for a moment:
/// then there is more to be found, and it costs less. That moment doubles while several are found at a time,
/// which is so in a stream and never between two who wait for each other. Owner: the thread that spins.
class Spin {
 public:
  /// True as soon as `something` is, false when it is time to sleep. A while passes without even a look at
  /// the clock.
  template <class Predicate>
  [[nodiscard]] bool until(Predicate something) {
    if (!has_cores_to_spare()) return false;
    if (something()) {
      at_once_ = std::min(at_once_ + 1, 2);
      return true;
    }
    // Several were there: a stream, of which the next look finds the more the later it comes.
    if (std::exchange(at_once_, 0) > 1) away_ = std::min(2 * away_, looks_away_max);
    for (int i = 1; i < looks_without_clock; ++i) {
      look_away(i == 1 ? away_ : 1);
      if (something()) {
        away_ = i <= looks_hurried ? std::max(away_, looks_away) : 1;
        return true;
      }
    }
    away_ = 1;
    if (Clock::now() < allowed_at_) return false;
    const long switches = involuntary_switches();
    for (const TimePoint end = deadline_in(spin_for); Clock::now() < end;)
      if (something()) return true;
    if (involuntary_switches() != switches) allowed_at_ = deadline_in(no_spin_after_switch);
    return false;
  }

 private:
  static constexpr int looks_without_clock = 200;
  static constexpr int looks_hurried = 4;  ///< a stream's next message; an answer takes longer
  static constexpr int looks_away = 16;    ///< about 0.2 µs: measured as the others
  static constexpr int looks_away_max = 128;
  static constexpr Duration spin_for = std::chrono::microseconds{20};  // measured: docs/benchmarks.md
  static constexpr Duration no_spin_after_switch = std::chrono::milliseconds{100};

  static void look_away(int pauses) noexcept {
    for (int i = 0; i < pauses; ++i) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#else
      asm volatile("" ::: "memory");
#endif
    }
  }
  [[nodiscard]] static bool has_cores_to_spare();  ///< as it was when it was first asked
  [[nodiscard]] static long involuntary_switches();

  TimePoint allowed_at_{};
  int away_ = 1;     ///< pauses before the next look
  int at_once_ = 0;  ///< found without waiting since the last wait; 2: two or more
};

}  // namespace troupe::detail
