// SPDX-License-Identifier: MIT
#include <troupe/transport/select.hpp>

#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr short ready_events = POLLIN | POLLHUP | POLLERR;

timespec as_timespec(Duration since_boot) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((since_boot - seconds).count())};
}

tl::unexpected<Error> not_open(std::size_t place) {
  return failure(ErrorKind::invalid, "select: place " + std::to_string(place) + " is no open descriptor");
}

tl::unexpected<Error> cannot_poll(std::size_t places) {
  if (errno != EINVAL) return detail::system_failure("select");
  return tl::unexpected<Error>{Error{
      ErrorKind::exhausted, EINVAL,
      "select: " + std::to_string(places) + " places are more than the limit of open files; try ulimit -n"}};
}

/// Arms what needs it; the places of those that have something already.
std::vector<std::size_t> arm_all(std::span<const Waitable> these) {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < these.size(); ++i)
    if (these[i].arm && these[i].arm()) ready.push_back(i);
  return ready;
}

}  // namespace

Result<std::vector<std::size_t>> select(std::span<const Waitable> these, Duration within) {
  if (these.empty()) return failure(ErrorKind::invalid, "select: nothing to wait for");
  const TimePoint deadline = deadline_in(within);
  std::vector<pollfd> polled;
  for (const Waitable& one : these) {
    if (one.descriptor < 0) return not_open(polled.size());
    polled.push_back({one.descriptor, POLLIN, 0});
  }
  for (;;) {
    auto ready = arm_all(these);
    const int timeout = ready.empty() ? detail::poll_timeout(deadline) : 0;
    const int count = ::poll(polled.data(), polled.size(), timeout);
    if (count == -1 && errno != EINTR) return cannot_poll(polled.size());
    for (std::size_t i = 0; count > 0 && i < these.size(); ++i) {
      if ((polled[i].revents & POLLNVAL) != 0) return not_open(i);
      // What has to be armed is ready when arm() says so: its descriptor may tell of a wake-up that is over.
      if (!these[i].arm && (polled[i].revents & ready_events) != 0) ready.push_back(i);
    }
    if (!ready.empty()) {
      std::ranges::sort(ready);
      return ready;
    }
    if (Clock::now() >= deadline) return failure(ErrorKind::timed_out, "select: nothing was ready in time");
  }
}

Result<std::vector<std::size_t>> select(std::initializer_list<Waitable> these, Duration within) {
  return select(std::span{these.begin(), these.size()}, within);
}

Result<Timer> Timer::create() {
  auto fd = detail::owned(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
  if (!fd) return failure(std::move(fd));
  return Timer{std::move(*fd)};
}

Result<void> Timer::set(TimePoint moment, Duration every) {
  if (every < Duration::zero()) return failure(ErrorKind::invalid, "timer: a negative period");
  // All zero would stop it.
  const itimerspec spec{as_timespec(every), as_timespec(std::max(moment.time_since_epoch(), Duration{1}))};
  if (::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == -1)
    return detail::system_failure("timerfd_settime");
  return {};
}

void Timer::stop() noexcept {
  const itimerspec none{};
  ::timerfd_settime(fd_.get(), 0, &none, nullptr);
}

std::uint64_t Timer::expirations() noexcept {
  std::uint64_t count = 0;
  return ::read(fd_.get(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) ? count : 0;
}

}  // namespace troupe
