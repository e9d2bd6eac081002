// SPDX-License-Identifier: MIT
#include <troupe/transport/doorbell.hpp>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr std::uint64_t is_bell = ~std::uint64_t{0};

Result<void> add(int epoll, int fd, std::uint32_t events, std::uint64_t what) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = what;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1)
    return detail::system_failure("watch a descriptor");
  return {};
}

timespec until(TimePoint deadline) noexcept {
  const auto left = std::max(deadline - Clock::now(), Duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((left - seconds).count())};
}

}  // namespace

Result<OwnedFd> create_bell() { return detail::owned(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"); }

void ring(int bell) noexcept {
  constexpr std::uint64_t one = 1;
  constexpr int tries_max = 3;  // whoever fills it again meanwhile has rung it by that
  for (int i = 0; i < tries_max; ++i) {
    if (detail::retried([&] { return ::write(bell, &one, sizeof one); }) != -1 || errno != EAGAIN) return;
    std::uint64_t count = 0;
    [[maybe_unused]] const auto emptied = detail::retried([&] { return ::read(bell, &count, sizeof count); });
  }
}

Result<BellWaiter> BellWaiter::create(int bell) {
  auto epoll = detail::owned(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  if (!epoll) return failure(std::move(epoll));
  const std::uint32_t alone = TROUPE_MUTANT(queue_wake_one) ? std::uint32_t{EPOLLEXCLUSIVE} : 0;
  if (auto added = add(epoll->get(), bell, EPOLLIN | EPOLLET | alone, is_bell); !added)
    return failure(std::move(added));
  return BellWaiter{std::move(*epoll)};
}

Result<void> BellWaiter::watch(int fd, Report report, std::uint32_t number) {
  if (TROUPE_MUTANT(no_death_knock)) return {};
  return add(epoll_.get(), fd, report == Report::once ? EPOLLIN | EPOLLET : EPOLLIN, number);
}

void BellWaiter::forget(int fd) noexcept { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

BellWaiter::Woken BellWaiter::wait(TimePoint deadline) noexcept {
  epoll_event event{};
  for (;;) {
    const timespec left = until(deadline);
    const int ready = ::epoll_pwait2(epoll_.get(), &event, 1, deadline == never ? nullptr : &left, nullptr);
    if (ready > 0 && event.data.u64 == is_bell) return Woken::bell;
    if (ready > 0) {
      watched_ = static_cast<std::uint32_t>(event.data.u64);
      return Woken::watched;
    }
    if (ready == 0 && Clock::now() >= deadline) return Woken::deadline;
    if (ready == -1 && errno != EINTR)
      return Woken::bell;  // a broken epoll: look again rather than sleep for ever
  }
}

}  // namespace troupe
