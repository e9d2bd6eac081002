// SPDX-License-Identifier: MIT
#include <troupe/runtime/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace troupe::detail {
namespace {

std::uint32_t* address_of(const FutexWord& word) noexcept {
  return reinterpret_cast<std::uint32_t*>(const_cast<FutexWord*>(&word));
}

}  // namespace

void futex_wait(const FutexWord& word, std::uint32_t expected, TimePoint deadline) noexcept {
  // An absolute time of the monotonic clock: a signal neither prolongs nor shortens it.
  const auto since_boot = deadline.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
  const timespec until{static_cast<time_t>(seconds.count()),
                       static_cast<long>((since_boot - seconds).count())};
  ::syscall(SYS_futex, address_of(word), FUTEX_WAIT_BITSET, expected, &until, nullptr,
            FUTEX_BITSET_MATCH_ANY);
}

std::uint32_t futex_wake(const FutexWord& word, std::uint32_t sleepers_max) noexcept {
  const long woken = ::syscall(SYS_futex, address_of(word), FUTEX_WAKE, sleepers_max, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<std::uint32_t>(woken);
}

void EventCount::announce(std::uint32_t sleepers_max) noexcept {
  std::uint32_t before = word_.load(std::memory_order_relaxed);
  std::uint32_t after = 0;
  do after = (before + step) & ~sleeper;
  while (!word_.compare_exchange_weak(before, after));
  if ((before & sleeper) == 0 || futex_wake(word_, sleepers_max) < sleepers_max) return;
  // Others may sleep on. Who has announced since then did not know of them.
  if (((word_.fetch_or(sleeper) ^ after) & ~sleeper) != 0) futex_wake(word_, everybody);
}

}  // namespace troupe::detail
