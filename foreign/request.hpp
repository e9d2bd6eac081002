// SPDX-License-Identifier: MIT
#pragma once
// Internal. A request as it is read, and the replies to it.

#include <optional>
#include <string>
#include <troupe/foreign/encoding.hpp>
#include <troupe/transport/clock.hpp>

namespace troupe::foreign::detail {

struct Request {
  std::string id{};
  std::string to{};
  std::string type{};
  Value body{};
  std::optional<Duration> within{};
};

/// A request that breaks the contract, and its id as far as there is one.
struct Unreadable {
  std::optional<std::string> id{};
  Error error{};
};

/// Checks all but `to`, `type` and the body, which whoever it is to does. `malformed`, or `refused` for
/// another version.
[[nodiscard]] tl::expected<Request, Unreadable> read_request(std::span<const std::byte> bytes,
                                                             Encoding encoding, const Limits& limits,
                                                             Duration within_max);

/// What became of a request: done, done with a value, or the error.
using Outcome = Result<std::optional<Value>>;

/// `id` is absent if it could not be read.
[[nodiscard]] Value make_reply(const std::optional<std::string>& id, Outcome outcome);

}  // namespace troupe::foreign::detail
