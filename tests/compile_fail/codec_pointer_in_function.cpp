// expect: troupe: this type cannot travel between processes: it holds a raw pointer
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Node {
  int* value = nullptr;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }
};

bool send(const Node& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
