// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string_view>
#include <troupe/actors/endpoint.hpp>
#include <troupe/actors/message.hpp>
#include <troupe/actors/pending_reply.hpp>
#include <troupe/transport/clock.hpp>

namespace troupe {

/// What became of a send.
enum class Sent {
  queued,  ///< in memory that outlives both processes: lost only with the keeper or the machine
  full,    ///< the mailbox stayed full until the deadline, or the message is larger than a mailbox takes;
           ///< certainly not sent
  closed,  ///< the receiver has ended, or never was; certainly not sent
};

struct SendOptions {
  std::optional<Duration> within{};  ///< to wait for room; none: 5 s in a program, 1 s in a handler
};

namespace detail {

[[nodiscard]] Sent sent(const Result<std::uint64_t>& posted);

/// The role of a path within a node; never the same as a role that a keeper makes up.
[[nodiscard]] RoleId role_of_path(supervision::SupervisorId node, std::string_view path);

}  // namespace detail

/// The address of an actor of type A, or of anything that speaks the protocol A: a role, not a process,
/// so it survives restarts. A small value that may travel inside messages. A default-constructed one names
/// nobody.
///
/// In a program any thread may use it; the threads take turns, and an ask holds its turn until it ends. In an
/// actor only the thread that runs the handlers may.
///
/// From a handler of an actor that keeps state, mail leaves when the handler's state is committed. A question
/// goes out at once: behind everything committed, before what this handler has sent since; Self::commit()
/// puts that in front.
template <class A>
class Ref {
 public:
  Ref() = default;
  explicit Ref(RoleId role) noexcept : role_{role} {}
  template <class B>
  requires(!std::same_as<A, B>) Ref(const Ref<B>& other) : role_{other.role()} {
    static_assert(covers<B>(detail::Protocol<A>{}),
                  "troupe: this Ref's actor does not accept every message of the other's protocol");
  }

  /// Sends one way. Waits for room at most `options.within`.
  template <class M>
  Sent send(const M& message, SendOptions options = {}) const {
    require_accepted<M>();
    require_serializable<M>();
    if constexpr (accepts<M>() && Serializable<M>) {
      auto endpoint = detail::Endpoint::of_process();
      if (!endpoint) return detail::sent(failure_of(endpoint));
      const Duration within = options.within.value_or((*endpoint)->default_patience());
      return detail::sent((*endpoint)->post({role_},
                                            {type_id<M>, envelope::sequence(envelope::Kind::mail, 0)}, {},
                                            detail::Payload::of(message), within));
    } else {
      return Sent::closed;
    }
  }

  /// Asks and waits for the reply, over restarts of the receiver. Ends always: the value, `timed_out`, `down`
  /// (the receiver has ended; the text says whether its handler had begun), `poison`, `refused`, `malformed`,
  /// `full`, or the Error that the handler itself returned.
  template <class M>
  requires Question<M>
  [[nodiscard]] Result<typename reply_of<M>::type> ask(const M& message, Duration within) const {
    using R = typename reply_of<M>::type;
    require_accepted<M>();
    require_serializable<M>();
    if constexpr (accepts<M>() && Serializable<M>) {
      auto endpoint = detail::Endpoint::of_process();
      if (!endpoint) return failure(std::move(endpoint));
      auto reply = (*endpoint)->ask(role_, type_id<M>, detail::Payload::of(message), deadline_in(within));
      if (!reply) return failure(std::move(reply));
      if (reply->outcome != 0) return tl::unexpected<Error>{detail::error_of_reply(*reply)};
      DescriptorList descriptors{std::move(reply->descriptors)};
      return decode<R>(reply->value(), &descriptors);
    } else {
      return failure(ErrorKind::refused, "");
    }
  }

  /// Asks and does not wait: a full mailbox is `full` at once. Errors of the reply are told by it. `refused`
  /// in an actor that keeps state.
  template <class M>
  requires Question<M>
  [[nodiscard]] Result<PendingReply<typename reply_of<M>::type>> start_ask(const M& message,
                                                                           Duration within) const {
    require_accepted<M>();
    require_serializable<M>();
    if constexpr (accepts<M>() && Serializable<M>) {
      auto asked =
          detail::AwaitedAsk::start(role_, type_id<M>, detail::Payload::of(message), deadline_in(within));
      if (!asked) return failure(std::move(asked));
      return PendingReply<typename reply_of<M>::type>{std::move(*asked)};
    } else {
      return failure(ErrorKind::refused, "");
    }
  }

  [[nodiscard]] RoleId role() const noexcept { return role_; }
  friend bool operator==(const Ref&, const Ref&) = default;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(role_);
  }

 private:
  template <class M>
  static consteval bool accepts() {
    return detail::contains<M, detail::Protocol<A>>;
  }
  template <class M>
  static constexpr void require_accepted() {
    static_assert(
        accepts<M>(),
        "troupe: this actor does not accept that message; add it to its `accepts` and write on(const M&)");
  }
  template <class B, class... M>
  static consteval bool covers(messages<M...>) {
    return (detail::contains<M, detail::Protocol<B>> && ...);
  }
  static Result<std::uint64_t> failure_of(Result<detail::Endpoint*>& endpoint) {
    return failure(std::move(endpoint));
  }

  RoleId role_ = 0;
};

}  // namespace troupe
