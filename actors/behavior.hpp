// SPDX-License-Identifier: MIT
#pragma once
// Internal. A user's actor type as the loop sees it.

#include <troupe/actors/actor_loop.hpp>
#include <troupe/runtime/entry.hpp>

namespace troupe::detail {

template <class A>
class TypedBehavior final : public Behavior {
 public:
  explicit TypedBehavior(A& actor) noexcept : actor_{actor} {}
  void serve(ActorLoop& loop) noexcept { loop_ = &loop; }

  Handled handle(std::uint64_t type, std::span<const std::byte> message, DescriptorStore& descriptors,
                 Self& self) override {
    return among(typename A::accepts{}, type, message, descriptors, self);
  }
  void start(Self& self) override {
    if constexpr (requires { actor_.start(self); }) actor_.start(self);
  }
  void stop(Self& self) override {
    if constexpr (requires { actor_.stop(self); }) actor_.stop(self);
  }
  [[nodiscard]] bool keeps_state() const noexcept override { return KeepsState<A>; }
  [[nodiscard]] Result<std::size_t> save(std::span<std::byte> room) const override {
    if constexpr (KeepsState<A>) return encode(actor_.kept, room);
    return 0;
  }
  [[nodiscard]] Result<void> load(std::span<const std::byte> bytes) override {
    if constexpr (KeepsState<A>) {
      auto kept = decode<decltype(actor_.kept)>(bytes);
      if (!kept) return failure(std::move(kept));
      actor_.kept = std::move(*kept);
    }
    return {};
  }

 private:
  template <class... M>
  Handled among(messages<M...> /*accepted*/, [[maybe_unused]] std::uint64_t type,
                [[maybe_unused]] std::span<const std::byte> message,
                [[maybe_unused]] DescriptorStore& descriptors, [[maybe_unused]] Self& self) {
    Handled handled{Handled::Kind::unknown_type, {}};
    [[maybe_unused]] const bool known =
        ((type == type_id<M> && (handled = one<M>(message, descriptors, self), true)) || ...);
    return handled;
  }

  template <class M>
  Handled one(std::span<const std::byte> bytes, DescriptorStore& descriptors, Self& self) {
    const auto message = decode<M>(bytes, &descriptors);
    if (!message) return {Handled::Kind::malformed, message.error().text, message.error().kind};
    if constexpr (HandlesWithReply<A, M> && !HandlesAlone<A, M>)
      actor_.on(*message, Reply<typename reply_of<M>::type>{loop_->take_question()});
    else if constexpr (HandlesWithReplyAndSelf<A, M>)
      actor_.on(*message, Reply<typename reply_of<M>::type>{loop_->take_question()}, self);
    else if constexpr (Question<M>)
      answer<typename reply_of<M>::type>(run(*message, self));
    else
      run(*message, self);
    return {};
  }

  template <class M>
  decltype(auto) run(const M& message, Self& self) {
    if constexpr (HandlesAlone<A, M>)
      return actor_.on(message);
    else
      return actor_.on(message, self);
  }

  template <class R>
  void answer(const R& value) {
    loop_->reply(loop_->take_question(), Payload::of(value));
  }
  template <class R>
  void answer(const Result<R>& result) {
    if (result)
      loop_->reply(loop_->take_question(), Payload::of(*result));
    else
      loop_->reply_error(loop_->take_question(), result.error().kind, result.error().text);
  }

  A& actor_;
  ActorLoop* loop_ = nullptr;
};

/// What an actor's process runs: makes the actor from its arguments, then serves its mailbox.
template <class A, class... Args>
int run_actor(std::span<const std::byte> bytes, DescriptorStore& descriptors) {
  A actor = std::apply([](auto&&... argument) { return A{std::forward<decltype(argument)>(argument)...}; },
                       decode_arguments<std::tuple<Args...>>(bytes, descriptors));
  TypedBehavior<A> behavior{actor};
  ActorLoop loop{*Endpoint::of_process().value(), behavior};
  behavior.serve(loop);
  return loop.run();
}

}  // namespace troupe::detail
