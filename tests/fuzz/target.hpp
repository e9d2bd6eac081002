// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

// What a fuzz target consists of; target.cpp makes a libFuzzer program of it. A finding is an abort, a
// sanitizer's report, or an input that takes too long.
namespace troupe::fuzz {

using Bytes = std::vector<std::byte>;

/// Has the target read those bytes. Keeps nothing from one call to the next that could change what it does.
void run(std::span<const std::byte> bytes);

/// Valid inputs to begin with: small, and few.
[[nodiscard]] std::vector<Bytes> seeds();

/// An input, taken apart from its front. What is beyond its end is zero, or empty.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : rest_{bytes} {}

  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] T take() {
    T value{};
    const auto bytes = take_bytes(sizeof value);
    if (!bytes.empty()) std::memcpy(static_cast<void*>(&value), bytes.data(), bytes.size());
    return value;
  }
  [[nodiscard]] std::span<const std::byte> take_bytes(std::size_t bytes) {
    const auto taken = rest_.first(std::min(bytes, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

/// The values' bytes, one behind the other: how a seed is written.
template <class... T>
[[nodiscard]] Bytes bytes_of(const T&... values) {
  Bytes all;
  const auto add = [&](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  (add(std::as_bytes(std::span{&values, 1})), ...);
  return all;
}

}  // namespace troupe::fuzz
