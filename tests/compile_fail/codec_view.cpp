// expect: troupe: this type cannot travel between processes: it holds a view of memory that the other process
// does not have SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <string_view>
#include <troupe/transport/codec.hpp>

struct Greeting {
  std::string_view text;
};

bool send(const Greeting& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
