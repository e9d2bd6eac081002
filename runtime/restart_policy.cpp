// SPDX-License-Identifier: MIT
#include <troupe/runtime/restart_policy.hpp>

#include <algorithm>
#include <cmath>

namespace troupe::supervision {

bool restart_allowed(std::deque<TimePoint>& restarts, const ChildPolicy& policy, TimePoint now) {
  if (policy.restarts_max == unlimited) return true;
  const Duration window = std::max(policy.window, Duration::zero());
  restarts.push_back(now);
  while (now - restarts.front() > window) restarts.pop_front();
  return restarts.size() <= policy.restarts_max;
}

ExitReason given_up(const ExitReason& last, std::size_t ends, Duration window) {
  const std::string count = std::to_string(ends) + (ends == 1 ? " end" : " ends");
  return {ExitCause::restart_limit, last.status,
          clipped(count + " within " + to_text(window) + ", the last: " + to_string(last))};
}

Duration backoff_pause(const Backoff& backoff, std::uint32_t idle_ends, double unit) noexcept {
  if (idle_ends == 0) return Duration::zero();
  constexpr std::uint32_t doublings_max = 62;  // of one nanosecond, in a Duration
  const auto doublings = static_cast<int>(std::min(idle_ends - 1, doublings_max));
  const double doubled = std::ldexp(static_cast<double>(backoff.first.count()), doublings);
  const double pause =
      std::min(doubled, static_cast<double>(backoff.max.count())) * (1.0 + backoff.jitter * unit);
  if (!(pause > 0.0)) return Duration::zero();
  constexpr auto longest = static_cast<double>(Duration::max().count());
  return pause < longest ? Duration{static_cast<Duration::rep>(pause)} : Duration::max();
}

double random_unit(std::uint64_t& state) noexcept {
  // splitmix64
  std::uint64_t z = state += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  z ^= z >> 31U;
  return std::ldexp(static_cast<double>(z >> 11U), -52) - 1.0;
}

std::string to_text(Duration duration) {
  using std::chrono::milliseconds, std::chrono::seconds;
  if (duration % seconds{1} == Duration::zero()) return std::to_string(duration / seconds{1}) + " s";
  if (duration % milliseconds{1} == Duration::zero())
    return std::to_string(duration / milliseconds{1}) + " ms";
  return std::to_string(duration.count()) + " ns";
}

}  // namespace troupe::supervision
