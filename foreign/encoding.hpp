// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <troupe/foreign/value.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe::foreign {

/// How a value becomes bytes. Which of them a message has, its first byte says (encoding_of).
enum class Encoding : std::uint8_t { json, msgpack };

/// What a reader takes; checked before anything is built from it.
struct Limits {
  std::size_t message_bytes_max = 1U << 20U;
  std::size_t depth_max = 32;            ///< objects and arrays inside each other
  std::size_t elements_max = 1U << 16U;  ///< values in a message, however they are nested
};

/// A message is an object: `{`, behind blanks if need be, in JSON; a map's byte in msgpack. Anything else is
/// taken for JSON, as which it is then malformed.
[[nodiscard]] Encoding encoding_of(std::span<const std::byte> bytes) noexcept;

/// Never throws, whatever the bytes are. `malformed`: not of that encoding, something behind the value, a
/// name twice in an object, text that is not UTF-8, NaN or an infinity, what only msgpack has (bytes,
/// extensions), or beyond the limits.
[[nodiscard]] Result<Value> parse(std::span<const std::byte> bytes, Encoding encoding, const Limits& limits);

/// `value` keeps the invariant of Value.
[[nodiscard]] std::vector<std::byte> print(const Value& value, Encoding encoding);

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace troupe::foreign
