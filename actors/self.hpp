// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <troupe/actors/ref.hpp>

namespace troupe {

namespace detail {
class ActorLoop;
}

/// What a handler may do beside sending: a reference to the actor that is running it. Valid during the call.
class Self {
 public:
  /// A Ref to an actor of the same node. Never fails; sending to a path that is not there is `closed`.
  template <class A>
  [[nodiscard]] Ref<A> ref(std::string_view path) const {
    return Ref<A>{role_of(path)};
  }

  /// Which try of the present message this is: 1 unless earlier incarnations died over it. An attempt that
  /// moved kept state does not count.
  [[nodiscard]] std::uint32_t attempt() const noexcept;
  [[nodiscard]] std::uint32_t incarnation() const noexcept;
  [[nodiscard]] std::string_view name() const noexcept;
  /// Messages that this incarnation dropped because an earlier one had handled them already.
  [[nodiscard]] std::uint64_t duplicates_dropped() const noexcept;
  [[nodiscard]] bool stop_requested() const noexcept;

  /// Ends normally once the present handler has returned.
  void stop() noexcept;
  /// Ends abnormally, with this text as its reason, once the present handler has returned.
  void fail(std::string_view why);

  /// In the middle of a long handler of an actor that keeps state: keeps the state as it is now and sends
  /// what was sent so far, at once and for good. If the process dies later in this handler, the message comes
  /// again and the handler goes on from that state. Without kept state it only shows progress.
  void commit();
  /// Shows that a long handler makes progress, so that it is not judged hung.
  void progress() noexcept;
  /// One line about what it is doing, for node.children(): no system call; cut at 112 bytes.
  void note(std::string_view text) noexcept;

 private:
  friend class detail::ActorLoop;
  explicit Self(detail::ActorLoop& loop) noexcept : loop_{&loop} {}
  [[nodiscard]] RoleId role_of(std::string_view path) const;

  detail::ActorLoop* loop_;
};

}  // namespace troupe
