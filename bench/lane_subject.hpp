// SPDX-License-Identifier: MIT
#pragma once
// What a lane does between two processes, with nothing above it: a typed message is encoded into the lane,
// and in the other process copied out of it, decoded, handled and acknowledged.

#include "machine.hpp"

namespace troupe::bench::lanes {

/// Bytes of every lane here, and of the bare ring.
inline constexpr std::size_t ring_bytes = 128 * std::size_t{1024};

/// Messages a second of a struct of 64 bytes, until the last has been acknowledged; both ends spin.
[[nodiscard]] double one_way(std::size_t count);
/// The same for a payload of that many bytes, which its handler reads in the private copy.
[[nodiscard]] double one_way(std::size_t bytes, std::size_t count);
/// The same with both ends on one core, where whoever has to wait sleeps, and the lane as large as one grows.
[[nodiscard]] double one_way_on_one_core(std::size_t bytes, std::size_t count);

/// Median nanoseconds until a struct of 64 bytes is back. Awake both ends spin; asleep both sleep on their
/// bells, with a deadline.
[[nodiscard]] double round_trip_awake(std::size_t rounds);
[[nodiscard]] double round_trip_asleep(std::size_t rounds, Placement placement,
                                       std::chrono::nanoseconds pause);

/// Messages a second, of all senders together, into one reader that takes the lanes in turn. A sender that
/// finds no room sleeps on its bell, a reader that finds nothing on its own.
[[nodiscard]] double fan_in(std::size_t senders, std::size_t count);

/// How often a second a reader that has nothing to do wakes up.
[[nodiscard]] double wake_ups_idle();

}  // namespace troupe::bench::lanes
