// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe {

/// Makes a bell: an eventfd that anyone who holds it may ring. Nobody reads it, but for who finds it full.
[[nodiscard]] Result<OwnedFd> create_bell();

/// Rings a bell. Never blocks. One that is full, by somebody's bad intent, is emptied first: a full counter
/// takes no ring, and so wakes nobody.
void ring(int bell) noexcept;

/// Sleeps until a bell rings: one epoll instance, edge-triggered on the bell, so that a
/// wake-up costs one system call and the bell is never read.
///
/// Owner: the one thread that sleeps. Further descriptors, level-triggered, may be
/// watched beside the bell (the keeper's pidfd, a control socket).
class BellWaiter {
 public:
  [[nodiscard]] static Result<BellWaiter> create(int bell);

  /// Whether `wait` reports a descriptor until it is no longer ready, or each change of it once.
  enum class Report { while_ready, once };
  /// Also wakes when `fd` is readable or hung up, until it is forgotten. `number` is told by watched().
  [[nodiscard]] Result<void> watch(int fd, Report report = Report::while_ready, std::uint32_t number = 0);
  void forget(int fd) noexcept;

  enum class Woken { bell, watched, deadline };
  /// Spurious `bell` results happen; an early `deadline` does not.
  [[nodiscard]] Woken wait(TimePoint deadline) noexcept;
  /// Number of the descriptor by which the last wait() was `watched`.
  [[nodiscard]] std::uint32_t watched() const noexcept { return watched_; }

  /// Readable when `wait` would return at once: for a foreign event loop.
  [[nodiscard]] int descriptor() const noexcept { return epoll_.get(); }

 private:
  explicit BellWaiter(OwnedFd epoll) noexcept : epoll_{std::move(epoll)} {}
  OwnedFd epoll_;
  std::uint32_t watched_ = 0;
};

}  // namespace troupe
