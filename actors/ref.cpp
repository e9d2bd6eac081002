// SPDX-License-Identifier: MIT
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <troupe/actors/ref.hpp>
#include <troupe/runtime/log.hpp>

namespace troupe::detail {

Sent sent(const Result<std::uint64_t>& posted) {
  if (posted) return Sent::queued;
  switch (posted.error().kind) {
    case ErrorKind::closed:
    case ErrorKind::down: return Sent::closed;
    case ErrorKind::full:
    case ErrorKind::timed_out: return Sent::full;
    case ErrorKind::refused:
    case ErrorKind::malformed:
    case ErrorKind::poison:
    case ErrorKind::no_reply:
    case ErrorKind::invalid:
    case ErrorKind::exhausted:
    case ErrorKind::system: break;
  }
  log(LogLevel::warning, "not sent: " + posted.error().text);  // the return value cannot say why
  return Sent::full;
}

Error error_of_reply(const ReplyBytes& reply) {
  const auto* const text = reinterpret_cast<const char*>(reply.bytes.data());
  return {envelope::error_of(reply.outcome), 0,
          std::string{text, std::min<std::size_t>(reply.bytes.size(), control::text_bytes_max)}};
}

RoleId role_of_path(supervision::SupervisorId node, std::string_view path) {
  constexpr RoleId path_mark = RoleId{1} << 62U;
  constexpr RoleId made_up_mark = RoleId{1} << 63U;
  return (XXH3_64bits_withSeed(path.data(), path.size(), node) | path_mark) & ~made_up_mark;
}

}  // namespace troupe::detail
