// expect: troupe: this type cannot travel between processes: it holds a class with virtual functions
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Shape {
  virtual ~Shape() = default;
  template <class Archive>
  void serialize(Archive&) {}
};

bool send(const Shape& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
