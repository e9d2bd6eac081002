// SPDX-License-Identifier: MIT
#pragma once
// Internal. One thread's waiting place; the only file that knows epoll besides the doorbell.

#include <functional>
#include <map>
#include <memory>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// Calls a function whenever its descriptor is readable or hung up (level-triggered).
///
/// Owner: one thread. A handler may watch and forget any descriptor, its own too. A watched
/// descriptor outlives its watch: forget() comes before close.
class EventLoop {
 public:
  [[nodiscard]] static Result<EventLoop> create();

  [[nodiscard]] Result<void> watch(int fd, std::function<void()> handler);
  void forget(int fd) noexcept;

  /// Waits for events until the deadline and handles those that are there.
  void run_once(TimePoint deadline);

 private:
  explicit EventLoop(OwnedFd epoll) noexcept : epoll_{std::move(epoll)} {}
  OwnedFd epoll_;
  std::map<int, std::shared_ptr<std::function<void()>>> handlers_{};
};

}  // namespace troupe::detail
