// SPDX-License-Identifier: MIT
#pragma once
// What channels and queues do over ZeroMQ, between processes.

#include <troupe/zmq/channel.hpp>

#include "machine.hpp"

namespace troupe::bench::over_zmq {

inline constexpr const char* ipc = "ipc://*";
inline constexpr const char* tcp = "tcp://127.0.0.1:*";

/// As channels::one_way and round_trip.
[[nodiscard]] double one_way(zmq::Delivery delivery, const char* endpoint, std::size_t bytes,
                             std::size_t count);
[[nodiscard]] double round_trip(zmq::Delivery delivery, const char* endpoint, std::size_t bytes,
                                std::size_t rounds);

/// Items a second of so many bytes, until the last one has been acknowledged; the owner is a process besides.
/// Puts are confirmed one by one, or up to `unconfirmed_puts_max` behind.
[[nodiscard]] double queue(std::size_t senders, std::size_t receivers, std::size_t bytes, std::size_t count,
                           std::size_t unconfirmed_puts_max);
/// Items a second out of a queue that is full already.
[[nodiscard]] double drained(std::size_t receivers, std::size_t bytes, std::size_t count,
                             std::size_t ahead_items_max);

}  // namespace troupe::bench::over_zmq
