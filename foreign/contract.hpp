// SPDX-License-Identifier: MIT
#pragma once
// Internal. Names and bounds of the wire contract: docs/foreign.md.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <troupe/foreign/value.hpp>

namespace troupe::foreign::contract {

inline constexpr std::int64_t version = 1;

/// Members of a request.
namespace request {
inline constexpr std::string_view id = "id";
inline constexpr std::string_view to = "to";
inline constexpr std::string_view type = "type";
inline constexpr std::string_view body = "body";            ///< absent: an object without members
inline constexpr std::string_view within_ms = "within_ms";  ///< absent: the endpoint's ask_within
inline constexpr std::string_view version = "version";      ///< absent: 1
}  // namespace request

/// Members of a reply.
namespace reply {
inline constexpr std::string_view id = "id";  ///< null where the request's could not be read
inline constexpr std::string_view ok = "ok";
inline constexpr std::string_view value = "value";  ///< of a question that was answered
inline constexpr std::string_view error = "error";  ///< {kind, text}, if not ok
inline constexpr std::string_view kind = "kind";
inline constexpr std::string_view text = "text";
}  // namespace reply

inline constexpr std::size_t name_bytes_max = 128;  ///< of an id, of who it is to, and of a type
static_assert(Value::integer_max == 9'007'199'254'740'991, "docs/foreign.md says so");

}  // namespace troupe::foreign::contract
