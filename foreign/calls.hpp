// SPDX-License-Identifier: MIT
#pragma once
// Internal. The requests to one actor that have no end yet.

#include <deque>
#include <functional>
#include <list>
#include <troupe/actors/pending_ask.hpp>
#include <troupe/actors/ref.hpp>
#include <troupe/foreign/exposed.hpp>
#include <troupe/foreign/request.hpp>
#include <troupe/foreign/router.hpp>

namespace troupe::foreign::detail {

/// Whom a request's reply goes to, and how.
struct ReplyTo {
  Router::Client client{};
  Encoding encoding{};
  std::string id{};
};

/// A request to an actor.
struct Call {
  ReplyTo reply_to{};
  const ActorMessage* message = nullptr;
  std::vector<std::byte> bytes{};
  TimePoint deadline{};
};

/// Hands requests to one actor in the order in which they came, at most so many questions at a time, and
/// tells how each has ended, once. Nothing here waits.
class Calls {
 public:
  using End = std::function<void(const ReplyTo&, Outcome)>;

  Calls(RoleId role, std::size_t asks_max, End end)
      : role_{role}, asks_max_{asks_max}, end_{std::move(end)} {}

  void add(Call call) { waiting_.push_back(std::move(call)); }
  /// Ends what has ended, or met its deadline, and hands over what may be.
  void advance();
  /// When advance() has something to do though nothing came.
  [[nodiscard]] TimePoint next_deadline() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return waiting_.size() + asked_.size(); }
  [[nodiscard]] RoleId role() const noexcept { return role_; }

 private:
  struct Asked {
    Call call{};
    troupe::detail::PendingAsk ask;
  };
  void end_asked();
  void end_late();
  void hand_over();
  void send(const Call& call);
  void ask(Call call);

  RoleId role_;
  std::size_t asks_max_;
  End end_;
  std::deque<Call> waiting_{};
  std::list<Asked> asked_{};
};

}  // namespace troupe::foreign::detail
