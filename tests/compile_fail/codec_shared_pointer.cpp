// expect: troupe: this type cannot travel between processes: it holds a unique, shared or weak pointer
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <troupe/transport/codec.hpp>

struct Shelf {
  std::optional<std::shared_ptr<int>> book;
};

bool send(const Shelf& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
