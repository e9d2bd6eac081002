// expect: troupe: this type cannot travel between processes: it holds a class that has no serialize function
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <troupe/transport/codec.hpp>

struct Locks {
  std::map<std::string, std::mutex> by_name;
};

bool send(const Locks& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
