// SPDX-License-Identifier: MIT
#pragma once
// What a Pipe adds to the lane channel below it: a type, and the codec.

#include "machine.hpp"

namespace troupe::bench::pipes {

/// As channels::one_way and round_trip, over shared memory; a message is that many bytes.
[[nodiscard]] double one_way(std::size_t bytes, std::size_t count);
[[nodiscard]] double round_trip(std::size_t bytes, std::size_t rounds);

}  // namespace troupe::bench::pipes
