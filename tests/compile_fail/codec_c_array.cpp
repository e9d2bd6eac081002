// expect: troupe: this type cannot travel between processes: it holds a C array; use std::array
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Row {
  int cells[3];
};

bool send(const Row& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
