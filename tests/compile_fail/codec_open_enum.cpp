// expect: troupe: this type cannot travel between processes: it holds an enum without a fixed underlying type
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

enum Color { red, green };
struct Paint {
  Color color;
};

bool send(const Paint& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
