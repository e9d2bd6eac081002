// SPDX-License-Identifier: MIT
#pragma once
// Internal. The arithmetic of restarting: pure functions of a policy, a history and a time.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/runtime/exit_status.hpp>
#include <troupe/transport/clock.hpp>

namespace troupe::supervision {

/// Whether a child that ended for `cause` is to run again.
[[nodiscard]] constexpr bool restarts_on(Restart restart, ExitCause cause) noexcept {
  switch (restart) {
    case Restart::permanent: return true;
    case Restart::temporary: return false;
    case Restart::transient: return !is_normal(cause);
  }
  return false;
}

/// Counts one more restart, now. False if it is one too many for the policy's window; an entry as old as the
/// window still counts. Without a limit nothing is remembered.
[[nodiscard]] bool restart_allowed(std::deque<TimePoint>& restarts, const ChildPolicy& policy, TimePoint now);

/// The reason of a child that ended `ends` times within its window, `last` being the last one.
[[nodiscard]] ExitReason given_up(const ExitReason& last, std::size_t ends, Duration window);

/// The pause before a restart after `idle_ends` incarnations in a row that acknowledged nothing: none after
/// 0, then min(max, first·2^(idle_ends - 1))·(1 + jitter·unit). `unit` in [-1, 1) is the jitter's random
/// part.
[[nodiscard]] Duration backoff_pause(const Backoff& backoff, std::uint32_t idle_ends, double unit) noexcept;

/// The next number in [-1, 1) of the sequence that `state` stands for.
[[nodiscard]] double random_unit(std::uint64_t& state) noexcept;

/// "30 s", "250 ms".
[[nodiscard]] std::string to_text(Duration duration);

}  // namespace troupe::supervision
