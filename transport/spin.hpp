// SPDX-License-Identifier: MIT
#pragma once
// Internal. Looking again and again before sleeping, where that is worth it.

#include <troupe/transport/clock.hpp>

namespace troupe::detail {

/// Spins for as long as waking a sleeper on another core takes: then the two cost the same at worst (ski
/// rental; Karlin et al., Competitive Randomized Algorithms for Nonuniform Problems, SODA 1990).
///
/// Not on one core, and not for a while after a spin has cost somebody else the core. Every look takes a
/// cache line from whoever writes it, so who was found at once last time is first left alone for a moment:
/// then there is more to be found, and it costs less. Owner: the thread that spins.
class Spin {
 public:
  /// True as soon as `something` is, false when it is time to sleep. A while passes without even a look at
  /// the clock.
  template <class Predicate>
  [[nodiscard]] bool until(Predicate something) {
    if (!has_cores_to_spare()) return false;
    for (int i = 0; i < looks_without_clock; ++i) {
      if (something()) {
        if (i != 0) hurried_ = i <= looks_hurried;
        return true;
      }
      look_away(i == 0 && hurried_ ? looks_away : 1);
    }
    hurried_ = false;
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
  bool hurried_ = false;
};

}  // namespace troupe::detail
