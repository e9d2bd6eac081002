// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <troupe/actors/endpoint.hpp>
#include <troupe/transport/address.hpp>
#include <utility>

namespace troupe {

namespace detail {

/// Who asked, and under which token.
struct Asker {
  RoleId role = 0;
  std::uint64_t token = 0;
};

/// Sends through the actor that this process is; nothing if its loop has ended.
void send_reply(const Asker& asker, const Payload& value);
void send_reply_error(const Asker& asker, ErrorKind kind, std::string_view text);

}  // namespace detail

/// An answer that is owed: for a handler `on(const M&, troupe::Reply<R>)` that answers later. May be kept in
/// the actor and moved; used once. Destroyed unused, it tells the asker `no_reply`. It does not survive the
/// process: then the asker's deadline ends the ask.
template <class R>
class [[nodiscard]] Reply {
 public:
  explicit Reply(const detail::Asker& asker) noexcept : asker_{asker} {}
  Reply(Reply&& other) noexcept : asker_{std::exchange(other.asker_, {})} {}
  Reply& operator=(Reply&& other) noexcept {
    std::swap(asker_, other.asker_);
    return *this;
  }
  ~Reply() {
    if (asker_.role != 0)
      detail::send_reply_error(asker_, ErrorKind::no_reply, "the handler ended without answering");
  }

  void send(const R& value) && { detail::send_reply(std::exchange(asker_, {}), detail::Payload::of(value)); }
  void fail(ErrorKind kind, std::string_view why) && {
    detail::send_reply_error(std::exchange(asker_, {}), kind, why);
  }

 private:
  detail::Asker asker_;
};

}  // namespace troupe
