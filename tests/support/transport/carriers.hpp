// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <ostream>
#include <troupe/transport/channel.hpp>

namespace troupe {

/// How GoogleTest shows one in a failure and in a test's name.
inline void PrintTo(Carrier carrier, std::ostream* out) {
  switch (carrier) {
    case Carrier::shared_memory: *out << "lane"; return;
    case Carrier::pipe: *out << "pipe"; return;
    case Carrier::stream: *out << "stream"; return;
    case Carrier::packet: *out << "packet"; return;
    case Carrier::zeromq: *out << "zeromq"; return;
  }
}

namespace test {

inline constexpr std::array carriers{Carrier::shared_memory, Carrier::pipe, Carrier::stream, Carrier::packet};

}  // namespace test
}  // namespace troupe
