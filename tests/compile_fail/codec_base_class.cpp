// expect: troupe: this type cannot travel between processes: it holds a struct with a base class
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Animal {
  int legs;
};
struct Dog : Animal {
  int tails;
};

bool send(const Dog& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
