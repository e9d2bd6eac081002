// SPDX-License-Identifier: MIT
#pragma once
// What a channel does between two processes, whatever carries it: measured through the Channel interface.

#include <troupe/transport/channel.hpp>

#include "machine.hpp"

namespace troupe::bench::channels {

/// Messages a second until the last one has been received.
[[nodiscard]] double one_way(Carrier carrier, std::size_t bytes, std::size_t count);
/// Median nanoseconds until the same bytes are back; both ends receive with a deadline.
[[nodiscard]] double round_trip(Carrier carrier, std::size_t bytes, std::size_t rounds);

}  // namespace troupe::bench::channels
