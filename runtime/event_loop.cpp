// SPDX-License-Identifier: MIT
#include <troupe/runtime/event_loop.hpp>

#include <sys/epoll.h>

#include <array>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {

Result<EventLoop> EventLoop::create() {
  auto epoll = owned(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  if (!epoll) return failure(std::move(epoll));
  return EventLoop{std::move(*epoll)};
}

Result<void> EventLoop::watch(int fd, std::function<void()> handler) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == -1) return system_failure("watch a descriptor");
  handlers_[fd] = std::make_shared<std::function<void()>>(std::move(handler));
  return {};
}

void EventLoop::forget(int fd) noexcept {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  handlers_.erase(fd);
}

void EventLoop::run_once(TimePoint deadline) {
  std::array<epoll_event, 64> events{};
  // Whole milliseconds rounded up: a deadline is never handled early, at most one millisecond late.
  const int ready =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), poll_timeout(deadline));
  for (int i = 0; i < ready; ++i) {
    const auto at = handlers_.find(events[static_cast<std::size_t>(i)].data.fd);
    if (at == handlers_.end()) continue;  // forgotten by an earlier handler of this round
    const auto handler = at->second;      // lives on while it runs, even if it forgets itself
    (*handler)();
  }
}

}  // namespace troupe::detail
