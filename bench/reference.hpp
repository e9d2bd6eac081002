// SPDX-License-Identifier: MIT
#pragma once
// What this machine gives to anybody, written raw and small: the figures that ours stand beside.

#include "machine.hpp"

namespace troupe::bench::bare {

/// Messages a second into a forked child that copies each one out, until it has the last. The ring publishes
/// every message and then looks whether its reader sleeps; both sides spin.
[[nodiscard]] double ring_one_way(std::size_t bytes, std::size_t count);
[[nodiscard]] double pipe_one_way(std::size_t bytes, std::size_t count);

/// Copies a second of as many bytes, made twice: on one core from one buffer into the next and on into a
/// third, or across cores into memory that another process copies them out of, one at a time.
[[nodiscard]] double memcpy_twice(std::size_t bytes, std::size_t count, Placement placement);

/// Median nanoseconds until the same bytes are back. The ring's ends spin, those of the others sleep: in a
/// blocking read, or in epoll with a deadline on an eventfd (the payload then lies in shared memory).
[[nodiscard]] double ring_round_trip(std::size_t bytes, std::size_t rounds);
[[nodiscard]] double pipe_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                                     std::chrono::nanoseconds pause);
[[nodiscard]] double bell_round_trip(std::size_t bytes, std::size_t rounds, Placement placement,
                                     std::chrono::nanoseconds pause);

/// Nanoseconds from the call to the child's first line.
[[nodiscard]] double fork_start(Stamp& stamp);
[[nodiscard]] double spawn_start(Stamp& stamp);  ///< posix_spawn of this program
/// In main, after troupe::init: a process that spawn_start made stamps the time and ends here.
void end_if_spawned(int argc, char** argv);

/// Nanoseconds from SIGKILL to the first line of the replacement: pidfd, waitid, fork.
[[nodiscard]] double fork_restart(Stamp& stamp);

}  // namespace troupe::bench::bare
