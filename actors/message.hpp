// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <troupe/transport/codec.hpp>
#include <type_traits>
#include <utility>

namespace troupe {

class Self;
template <class R>
class Reply;

/// The messages that an actor accepts: `using accepts = troupe::messages<Add, Total>;`. A list by itself is a
/// protocol: two actors may know each other as `Ref<Protocol>`.
template <class... M>
struct messages {};

/// The type of a message's reply: its member `reply`. Specialise it for types that are not yours.
template <class M>
struct reply_of {};  // NOLINT(readability-identifier-naming): a trait, named like the standard's
template <class M>
requires requires { typename M::reply; }
struct reply_of<M> {
  using type = typename M::reply;
};

/// Whether a message is a question: it names its reply.
template <class M>
concept Question = requires {
  typename reply_of<M>::type;
};

namespace detail {

template <class M, class List>
inline constexpr bool contains = false;
template <class M, class... Ms>
inline constexpr bool contains<M, messages<Ms...>> = (std::same_as<M, Ms> || ...);

template <class A>
struct protocol_of {  // NOLINT(readability-identifier-naming)
  using type = typename A::accepts;
};
template <class... M>
struct protocol_of<messages<M...>> {
  using type = messages<M...>;
};
template <class A>
using Protocol = typename protocol_of<A>::type;

/// Converts to a const M& and to nothing else, so that on(const Base&) does not count as a handler of M.
template <class M>
struct OnlyMessage {
  template <class T>
  requires std::same_as<T, M>
  operator const T&() const;
};

template <class A, class M>
concept HandlesAlone = requires(A actor, OnlyMessage<M> message) {
  actor.on(message);
};
template <class A, class M>
concept HandlesWithSelf = requires(A actor, OnlyMessage<M> message, Self& self) {
  actor.on(message, self);
};

/// A question may be answered later, through the Reply that its handler is given.
template <class A, class M>
concept HandlesWithReply = Question<M> &&
    requires(A actor, OnlyMessage<M> message, Reply<typename reply_of<M>::type> reply) {
  actor.on(message, std::move(reply));
};
template <class A, class M>
concept HandlesWithReplyAndSelf = Question<M> &&
    requires(A actor, OnlyMessage<M> message, Reply<typename reply_of<M>::type> reply, Self& self) {
  actor.on(message, std::move(reply), self);
};
template <class A, class M>
concept Handles =
    HandlesAlone<A, M> || HandlesWithSelf<A, M> || HandlesWithReply<A, M> || HandlesWithReplyAndSelf<A, M>;

template <class A, class M>
consteval bool require_handler() {
  static_assert(Handles<A, M>,
                "troupe: `accepts` names a message for which this actor has no on(const M&); "
                "troupe::Reply<R> and troupe::Self& may follow the message");
  require_serializable<M>();
  if constexpr (Question<M>) require_serializable<typename reply_of<M>::type>();
  return true;
}

/// Does not compile unless A has a handler for everything it accepts.
template <class A>
consteval bool require_actor() {
  static_assert(
      requires { typename A::accepts; },
      "troupe: an actor says what it accepts: using accepts = troupe::messages<…>;");
  if constexpr (requires { typename A::accepts; })
    return []<class... M>(messages<M...>) { return (require_handler<A, M>() && ...); }(typename A::accepts{});
  else
    return false;
}

/// Whether A keeps state with Troupe: it has a member named `kept`.
template <class A>
concept KeepsState = requires(A actor) {
  actor.kept;
};

}  // namespace detail
}  // namespace troupe
