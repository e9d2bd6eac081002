// expect: troupe: this type cannot travel between processes: it holds a class that cannot be made empty
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <troupe/transport/codec.hpp>

class Price {
 public:
  explicit Price(int cents) : cents_{cents} {}
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cents_);
  }

 private:
  int cents_;
};

bool send(const Price& message) {
  std::array<std::byte, 64> room{};
  return troupe::encode(message, room).has_value();
}
