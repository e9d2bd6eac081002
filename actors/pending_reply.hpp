// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <troupe/actors/message.hpp>
#include <troupe/actors/pending_ask.hpp>
#include <troupe/transport/select.hpp>
#include <utility>

namespace troupe {

namespace detail {

[[nodiscard]] Error error_of_reply(const ReplyBytes& reply);

/// A question, what one sleeps with until it has ended, and its deadline.
class AwaitedAsk {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AwaitedAsk>> start(RoleId to, std::uint64_t type,
                                                                 const Payload& payload, TimePoint deadline);
  AwaitedAsk(const AwaitedAsk&) = delete;
  AwaitedAsk& operator=(const AwaitedAsk&) = delete;
  ~AwaitedAsk() { waiter_.wake(); }  ///< an announced sleep is over

  [[nodiscard]] std::optional<Result<ReplyBytes>> end();
  [[nodiscard]] Result<ReplyBytes> wait();
  [[nodiscard]] Waitable readable();

 private:
  AwaitedAsk(PendingAsk ask, AskWaiter waiter, Timer timer, TimePoint deadline)
      : ask_{std::move(ask)}, waiter_{std::move(waiter)}, timer_{std::move(timer)}, deadline_{deadline} {}
  PendingAsk ask_;
  AskWaiter waiter_;
  Timer timer_;
  TimePoint deadline_;
  bool ended_ = false;
};

}  // namespace detail

/// A question under way, as Ref::start_ask() gives it: for a program that has other things to wait for, or
/// many questions at once.
///
/// Once this object is gone, its reply meets nobody. Threads: one at a time. Holds three descriptors.
template <class R>
class [[nodiscard]] PendingReply {
 public:
  explicit PendingReply(std::unique_ptr<detail::AwaitedAsk> ask) noexcept : ask_{std::move(ask)} {}

  /// How it ended: the reply or its error, as Ref::ask() returns them; none while it goes on. Told once.
  [[nodiscard]] std::optional<Result<R>> result() {
    auto end = ask_->end();
    return end ? std::optional{decoded(std::move(*end))} : std::nullopt;
  }
  /// Waits for that. `invalid` if it was told already.
  [[nodiscard]] Result<R> get() { return decoded(ask_->wait()); }

  /// For select() or an event loop: ready when result() may have something to tell, at the deadline at the
  /// latest. Valid while this object lives, wherever it is moved to.
  [[nodiscard]] Waitable readable() { return ask_->readable(); }

 private:
  static Result<R> decoded(Result<detail::ReplyBytes> reply) {
    if (!reply) return failure(std::move(reply));
    if (reply->outcome != 0) return tl::unexpected<Error>{detail::error_of_reply(*reply)};
    DescriptorList descriptors{std::move(reply->descriptors)};
    return decode<R>(reply->value(), &descriptors);
  }
  std::unique_ptr<detail::AwaitedAsk> ask_;
};

}  // namespace troupe
