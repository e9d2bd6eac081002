// expect: troupe: this type cannot travel between processes: it holds something const or a reference
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Fixed {
  const int value;
};

bool send(const Fixed& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
