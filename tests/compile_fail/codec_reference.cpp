// expect: troupe: this type cannot travel between processes: it holds a struct with a reference
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Alias {
  int& target;
};

bool send(const Alias& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
