// SPDX-License-Identifier: MIT
#pragma once
// Internal. What an endpoint knows of the messages that it takes.

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <troupe/actors/message.hpp>
#include <troupe/foreign/mapping.hpp>
#include <troupe/transport/address.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/codec.hpp>

namespace troupe::foreign::detail {

/// A message type that an actor takes.
struct ActorMessage {
  std::string_view type{};
  std::uint64_t type_id = 0;
  Result<std::vector<std::byte>> (*encode)(const Value& body) = nullptr;
  /// Of a question: its reply as others see it.
  Result<Value> (*answer)(std::span<const std::byte> reply) = nullptr;
};

struct ExposedActor {
  RoleId role = 0;
  std::vector<ActorMessage> messages{};
};

/// The one message type that a queue takes.
struct QueueMessage {
  std::string_view type{};
  std::function<Result<void>(const Value& body)> put{};
};

/// A Sender<M>.
template <class Queue, class M>
concept HasPut = requires(Queue& queue, const M& message) {
  { queue.put_nowait(message).has_value() } -> std::convertible_to<bool>;
};
template <class Queue, class M>
concept QueueOf = HasPut<Queue, M> || std::is_invocable_r_v<Result<void>, Queue&, const M&>;

/// Whether these types can be told apart by their own names.
template <class... M>
consteval bool all_named() {
  std::array<std::string_view, sizeof...(M)> names{message_name<M>...};
  std::ranges::sort(names);
  return std::ranges::none_of(names, &std::string_view::empty) &&
         std::ranges::adjacent_find(names) == names.end();
}

template <class M>
Result<std::vector<std::byte>> encode_body(const Value& body) {
  auto message = from_value<M>(body, "body");
  if (!message) return failure(std::move(message));
  std::vector<std::byte> bytes(encoded_size(*message));
  if (auto encoded = encode(*message, std::span{bytes}); !encoded) return failure(std::move(encoded));
  return bytes;
}

template <class R>
Result<Value> read_answer(std::span<const std::byte> reply) {
  auto value = decode<R>(reply);
  if (!value) return failure(std::move(value));
  return to_value(*value);
}

template <class M>
ActorMessage actor_message() {
  ActorMessage message{message_name<M>, troupe::type_id<M>};
  if constexpr (require_mappable<M>()) message.encode = &encode_body<M>;
  if constexpr (Question<M>) {
    using R = typename reply_of<M>::type;
    if constexpr (require_mappable<R>()) message.answer = &read_answer<R>;
  }
  return message;
}

template <class M, class Queue>
Result<void> put(Queue& queue, const M& message) {
  if constexpr (HasPut<Queue, M>) {
    auto placed = queue.put_nowait(message);
    if (!placed) return failure(std::move(placed));
    if (*placed == std::remove_cvref_t<decltype(*placed)>::dropped)
      return failure(ErrorKind::full, "queue: it was full and dropped the message");
    return {};
  } else {
    return queue(message);
  }
}

template <class M, class Queue>
QueueMessage queue_message(Queue queue) {
  QueueMessage message{message_name<M>, {}};
  if constexpr (require_mappable<M>())
    message.put = [held = std::make_shared<Queue>(std::move(queue))](const Value& body) -> Result<void> {
      auto read = from_value<M>(body, "body");
      if (!read) return failure(std::move(read));
      return put<M>(*held, *read);
    };
  return message;
}

}  // namespace troupe::foreign::detail
