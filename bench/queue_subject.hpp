// SPDX-License-Identifier: MIT
#pragma once
// What a Queue does between processes that attach to it.

#include "machine.hpp"

namespace troupe::bench::queues {

/// Messages a second of a struct of 64 bytes, from so many senders to so many receivers, each a process,
/// until the last one has been acknowledged.
[[nodiscard]] double throughput(std::size_t senders, std::size_t receivers, std::size_t count);
/// The same for that many bytes, from one sender to one receiver.
[[nodiscard]] double one_way(std::size_t bytes, std::size_t count);
/// Median nanoseconds until the same bytes are back by a second queue.
[[nodiscard]] double round_trip(std::size_t bytes, std::size_t rounds);

}  // namespace troupe::bench::queues
