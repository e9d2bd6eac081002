// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <troupe/transport/blob.hpp>

// Blobs whose bytes are easily told.
namespace troupe::test {

[[nodiscard]] inline Blob ones(std::size_t bytes) {
  return Blob::create(bytes, [](std::span<std::byte> room) { std::ranges::fill(room, std::byte{1}); })
      .value();
}

[[nodiscard]] inline std::uint64_t sum_of(const Blob& blob) {
  std::uint64_t sum = 0;
  for (const std::byte byte : blob.bytes().value()) sum += static_cast<std::uint64_t>(byte);
  return sum;
}

}  // namespace troupe::test
