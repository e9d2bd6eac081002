// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <troupe/foreign/mapping.hpp>
#include <troupe/foreign/request.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe::test {

/// Everything that a body can be made of.
struct FuzzedBody {
  enum class Kind : std::uint8_t { one, other };
  struct Part {
    std::int64_t number = 0;
    float real = 0;
    std::optional<std::string> text{};
  };
  bool yes = false;
  Kind kind{};
  std::vector<Part> parts{};
  std::map<std::string, std::vector<std::uint8_t>> map{};
  std::optional<std::array<std::int16_t, 2>> pair{};
};

/// What bytes from anywhere may do to the foreign endpoint before a message reaches an actor: nothing but be
/// read, or refused with an answer. Aborts if what was taken cannot be said again, or an answer is no answer.
inline void fuzz_foreign(std::span<const std::byte> bytes) {
  using namespace troupe::foreign;
  const Limits limits{.message_bytes_max = 1U << 16U, .depth_max = 16, .elements_max = 1U << 12U};
  const Encoding encoding = encoding_of(bytes);
  const auto check_answer = [&](const std::optional<std::string>& id, foreign::detail::Outcome outcome) {
    const auto answer = print(foreign::detail::make_reply(id, std::move(outcome)), encoding);
    const auto read = parse(answer, encoding, Limits{.message_bytes_max = answer.size()});
    TROUPE_ASSERT(read && read->member("id") != nullptr && read->member("ok") != nullptr);
  };
  auto request = foreign::detail::read_request(bytes, encoding, limits, std::chrono::minutes{1});
  if (!request) return check_answer(request.error().id, tl::unexpected<Error>{request.error().error});
  auto body = from_value<FuzzedBody>(request->body, "body");
  if (!body) return check_answer(request->id, tl::unexpected<Error>{body.error()});
  auto said = to_value(*body);
  TROUPE_ASSERT(said.has_value());
  check_answer(request->id, std::optional{*said});
  TROUPE_ASSERT(from_value<FuzzedBody>(*said, "body").has_value());
}

}  // namespace troupe::test
