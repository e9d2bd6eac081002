// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

namespace troupe {

/// All of Troupe's times: nanoseconds of the monotonic clock, so that a change of
/// the wall clock stretches no wait. Every process of a machine reads the same value.
using Clock = std::chrono::steady_clock;
using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<Clock, Duration>;

/// A moment that is always in the future.
inline constexpr TimePoint never = TimePoint::max();

/// `now + within`, saturating at `never`; `now` for a negative time, whose sum could not be reckoned with.
[[nodiscard]] constexpr TimePoint deadline_after(TimePoint now, Duration within) noexcept {
  if (within < Duration::zero()) return now;
  return within > never - now ? never : now + within;
}
[[nodiscard]] inline TimePoint deadline_in(Duration within) noexcept {
  return deadline_after(Clock::now(), within);
}

/// Until when somebody is ready to wait. The clock is read only once he has to: most calls need not wait.
class Deadline {
 public:
  explicit Deadline(Duration within) noexcept : within_{within} {}
  explicit Deadline(TimePoint at) noexcept : at_{at}, known_{true} {}

  [[nodiscard]] TimePoint at() noexcept {
    if (!known_) at_ = deadline_in(within_);
    known_ = true;
    return at_;
  }
  /// Whether it is now or not at all.
  [[nodiscard]] bool is_over() noexcept {
    return (!known_ && within_ <= Duration::zero()) || at() <= Clock::now();
  }

 private:
  Duration within_{};
  TimePoint at_{};
  bool known_ = false;
};

}  // namespace troupe
