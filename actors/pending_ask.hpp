// SPDX-License-Identifier: MIT
#pragma once
// Internal. Many questions under way at once, in one thread.

#include <troupe/actors/endpoint.hpp>
#include <troupe/transport/doorbell.hpp>

namespace troupe::detail {

/// A question that was posted and has no end yet. Once this object is gone, its reply meets nobody.
///
/// Its deadline is the caller's to keep: the receiver drops it unhandled then, and nothing comes.
class PendingAsk {
 public:
  /// Posts it now or not at all: `full`. Errors else as Ref::ask's.
  [[nodiscard]] static Result<PendingAsk> start(RoleId to, std::uint64_t type, const Payload& payload,
                                                TimePoint deadline);
  PendingAsk(PendingAsk&& other) noexcept
      : generation_{std::exchange(other.generation_, 0)}, question_{other.question_} {}
  PendingAsk& operator=(PendingAsk&& other) noexcept {
    std::swap(generation_, other.generation_);
    std::swap(question_, other.question_);
    return *this;
  }
  ~PendingAsk();

  /// How it ended: the reply, or `down`; none yet. Told once.
  [[nodiscard]] std::optional<Result<ReplyBytes>> end();

 private:
  PendingAsk(std::uint64_t generation, const OpenQuestion& question) noexcept
      : generation_{generation}, question_{question} {}
  [[nodiscard]] Endpoint* endpoint() const;

  std::uint64_t generation_ = 0;  ///< of the keeper link; 0: it has ended
  OpenQuestion question_{};
};

/// One thread's sleep until a pending ask may have ended, the keeper is gone, or something else is there that
/// it watches.
class AskWaiter {
 public:
  [[nodiscard]] static Result<AskWaiter> create();
  /// Also wakes while this is readable.
  [[nodiscard]] Result<void> watch(int fd) { return waiter_.watch(fd); }

  /// Announces the sleep; true if there is something already, and then nobody is to sleep. Else the caller
  /// sleeps on descriptor() or in sleep(), and calls wake() behind it.
  [[nodiscard]] bool arm();
  void wake();
  /// Arms, sleeps, wakes. `down` when the keeper is gone.
  [[nodiscard]] Result<void> sleep(TimePoint deadline);
  /// Then no ask ends any more by itself.
  [[nodiscard]] bool is_keeper_gone() const;
  [[nodiscard]] int descriptor() const noexcept { return waiter_.descriptor(); }

 private:
  AskWaiter(BellWaiter waiter, std::uint64_t generation, int keeper) noexcept
      : waiter_{std::move(waiter)}, generation_{generation}, keeper_{keeper} {}

  BellWaiter waiter_;
  std::uint64_t generation_;
  int keeper_;  ///< readable once the keeper has ended; -1: none
  bool armed_ = false;
};

}  // namespace troupe::detail
