// expect: troupe: this type cannot travel between processes: it holds a struct of more than 16 fields
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

struct Form {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};

bool send(const Form& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
