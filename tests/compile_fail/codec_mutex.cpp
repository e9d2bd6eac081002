// expect: troupe: this type cannot travel between processes: it holds a class that has no serialize function
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <mutex>
#include <troupe/transport/codec.hpp>

struct Account {
  std::mutex lock{};
};

bool send(const Account& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
