// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <troupe/foreign/encoding.hpp>
#include <vector>

// How tests of the foreign contract write values: as JSON.
namespace troupe::test {

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}
[[nodiscard]] inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Result<foreign::Value> from_json(std::string_view text,
                                                      const foreign::Limits& limits = {}) {
  return foreign::parse(bytes_of(text), foreign::Encoding::json, limits);
}
[[nodiscard]] inline Result<foreign::Value> from_msgpack(std::string_view text,
                                                         const foreign::Limits& limits = {}) {
  return foreign::parse(bytes_of(text), foreign::Encoding::msgpack, limits);
}
[[nodiscard]] inline std::string to_json(const foreign::Value& value) {
  return text_of(foreign::print(value, foreign::Encoding::json));
}

}  // namespace troupe::test
