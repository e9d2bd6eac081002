// SPDX-License-Identifier: MIT
#pragma once
// What is measured through the Channel interface, the same whatever carries it.
//
// `between(body)` makes a channel and a child that does body(its end); this process's end is here().

#include <span>
#include <troupe/transport/channel.hpp>
#include <vector>

#include "machine.hpp"

namespace troupe::bench {

inline constexpr std::chrono::seconds patience{60};

inline void send(Channel& end, std::span<const std::byte> bytes) {
  end.send(bytes, {}, deadline_in(patience)).value();
}

/// Messages a second until the last one has been received.
template <class Between>
[[nodiscard]] double one_way_over(const Between& between, std::size_t bytes, std::size_t count) {
  const auto ends = between([count](Channel& end) {
    std::vector<std::byte> buffer;
    const auto receive = [&] { keep(end.receive(buffer, deadline_in(patience)).value().bytes.data()); };
    receive();
    send(end, {});
    for (std::size_t i = 0; i < count; ++i) receive();
    send(end, {});
    ::pause();
  });
  std::vector<std::byte> answer;
  const std::vector<std::byte> payload(bytes);
  send(ends.here(), payload);
  [[maybe_unused]] const auto ready = ends.here().receive(answer, deadline_in(patience)).value();
  const std::int64_t before = now_ns();
  for (std::size_t i = 0; i < count; ++i) send(ends.here(), payload);
  [[maybe_unused]] const auto done = ends.here().receive(answer, deadline_in(patience)).value();
  return per_second(count, before);
}

/// Median nanoseconds until the same bytes are back; both ends receive with a deadline.
template <class Between>
[[nodiscard]] double round_trip_over(const Between& between, std::size_t bytes, std::size_t rounds) {
  const auto ends = between([](Channel& end) {
    for (std::vector<std::byte> buffer;;) send(end, end.receive(buffer, deadline_in(patience)).value().bytes);
  });
  std::vector<std::byte> answer;
  const std::vector<std::byte> payload(bytes);
  return median_round(rounds, {}, [&] {
    send(ends.here(), payload);
    keep(ends.here().receive(answer, deadline_in(patience)).value().bytes.data());
  });
}

}  // namespace troupe::bench
