// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <troupe/transport/clock.hpp>

namespace troupe {

/// Whether a child that ended is started again.
enum class Restart : std::uint8_t {
  permanent,  ///< always
  transient,  ///< unless it ended normally or was asked to stop
  temporary,  ///< never
};
constexpr bool is_valid(Restart restart) noexcept { return restart <= Restart::temporary; }

/// How a child process comes into being.
enum class StartMethod : std::uint8_t {
  forkserver,  ///< cloned by the zygote: the same cost whatever the parent's size; the default
  spawn,       ///< the program's own binary executed again: a fresh address layout, slower
};
constexpr bool is_valid(StartMethod method) noexcept { return method <= StartMethod::spawn; }

/// For `restarts_max` and `attempts_max`.
inline constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

/// The pause before the replacement of an incarnation that acknowledged nothing, as k in a row before it:
/// min(max, first·2^k)·(1 ± jitter). An incarnation that did work is replaced at once.
struct Backoff {
  Duration first = std::chrono::milliseconds{50};
  Duration max = std::chrono::seconds{5};
  double jitter = 0.2;  ///< in [0, 1)
};

/// How a supervisor treats a child: when it restarts it, and how long it waits for what.
struct ChildPolicy {
  Restart restart = Restart::permanent;
  bool daemon = false;  ///< does not keep its node alive: stopped when the last non-daemon has ended
  std::uint32_t restarts_max = 6;  ///< one restart more than these within `window`: the child is given up
  Duration window = std::chrono::seconds{10};
  Backoff backoff{};
  /// Silent for longer after its start: killed, init_failed. Zero and Duration::max: no such limit.
  Duration ready_within = std::chrono::seconds{30};
  /// Asked to stop and still there: SIGTERM is sent at half of it, SIGKILL at its end. Zero: SIGKILL at once.
  Duration stop_within = std::chrono::seconds{5};
  Duration hung_after = Duration::zero();  ///< zero: never judged hung
};

}  // namespace troupe
