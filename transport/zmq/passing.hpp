// SPDX-License-Identifier: MIT
#pragma once
// Internal. What both sides of a queue over ZeroMQ write and read.

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/queue_end.hpp>
#include <vector>

namespace troupe::zmq::detail {

/// An end on its way to a process, as bytes: it holds a secret key, and is worth what that is worth.
struct PassedEnd {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::uint8_t end = 0;     ///< wire::QueueRole
  std::uint64_t token = 0;  ///< 0: none
  std::string endpoint{};
  std::string public_key{};
  std::string secret_key{};
  std::string server_key{};
};

/// QuarantinedItem, as it travels.
struct PlainQuarantined {
  std::uint8_t cause = 0;
  std::uint32_t attempts = 0;
  std::uint64_t type = 0;
  std::vector<std::byte> bytes{};
};
[[nodiscard]] std::vector<PlainQuarantined> plain(const std::deque<QuarantinedItem>& items);
[[nodiscard]] std::vector<QuarantinedItem> as_quarantined(std::vector<PlainQuarantined> items);

/// Nothing where the value is too large for the codec (a full quarantine of large items).
template <class T>
[[nodiscard]] std::vector<std::byte> encoded(const T& value) {
  std::vector<std::byte> bytes(encoded_size(value));
  const auto written = encode(value, bytes);
  bytes.resize(written ? *written : 0);
  return bytes;
}
[[nodiscard]] std::uint64_t random_number();  ///< not 0

}  // namespace troupe::zmq::detail
