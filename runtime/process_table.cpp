// SPDX-License-Identifier: MIT
#include <troupe/runtime/process_table.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <troupe/runtime/robust_lock.hpp>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::uint64_t number_mask = 0xFFFF'FFFF;
constexpr unsigned start_shift = 32;

ProcessWord word_of(const ProcessMark& mark) noexcept {
  return (mark.started << start_shift) | static_cast<std::uint32_t>(mark.pid);
}
std::int32_t pid_of(ProcessWord process) noexcept { return static_cast<std::int32_t>(process & number_mask); }

}  // namespace

Result<ProcessWord> own_process_word() {
  // Looked up once in each thread. The child of any kind of fork has its parent's, and another number.
  struct Known {
    std::uint32_t thread = 0;
    ProcessWord word = 0;
  };
  thread_local constinit Known known{};
  if (known.thread == own_thread_number()) return known.word;
  const auto mark = own_mark();
  if (!mark) return tl::unexpected<Error>{mark.error()};
  known = {own_thread_number(), word_of(*mark)};
  return known.word;
}

Result<ProcessWord> process_word_of(std::int32_t pid) {
  const auto mark = mark_of(pid);
  if (!mark) return tl::unexpected<Error>{mark.error()};
  return word_of(*mark);
}

bool has_ended(ProcessWord process) {
  const std::int32_t pid = pid_of(process);
  if (pid <= 0 || (::kill(pid, 0) == -1 && errno == ESRCH)) return true;
  const auto pidfd = watch_process({pid, process >> start_shift}, number_mask);
  if (!pidfd) return pidfd.error().kind == ErrorKind::down;
  return wait_readable(pidfd->get(), TimePoint{});  // a zombie
}

std::size_t ProcessTable::used() const noexcept {
  return std::min<std::size_t>(used_.load(std::memory_order_acquire), processes_max);
}

std::size_t ProcessTable::find(ProcessWord process) const noexcept {
  for (std::size_t i = 0; i < used(); ++i)
    if (processes_[i].load(std::memory_order_acquire) == process &&
        counts_[i].load(std::memory_order_acquire) != 0)
      return i;
  return none;
}

std::size_t ProcessTable::place_of(ProcessWord process) noexcept {
  if (const std::size_t own = find(process); own != none) return own;
  for (std::size_t i = 0; i < processes_max; ++i) {
    if (counts_[i].load(std::memory_order_acquire) != 0) continue;
    processes_[i].store(process, std::memory_order_release);
    if (i >= used()) used_.store(static_cast<std::uint32_t>(i + 1), std::memory_order_release);
    return i;
  }
  return none;
}

std::uint64_t ProcessTable::sum() const noexcept {
  std::uint64_t shares = 0;
  for (std::size_t i = 0; i < used(); ++i) shares += counts_[i].load(std::memory_order_acquire);
  return shares;
}

std::uint64_t ProcessTable::reap() {
  std::uint64_t shares = 0;
  for (std::size_t i = 0; i < used(); ++i) {
    if (counts_[i].load(std::memory_order_acquire) == 0) continue;
    if (has_ended(processes_[i].load(std::memory_order_acquire))) shares += counts_[i].exchange(0);
  }
  return shares;
}

void ProcessTable::subtract(std::size_t place, ProcessWord process) noexcept {
  if (processes_[place].load(std::memory_order_acquire) != process) return;
  std::uint32_t count = counts_[place].load(std::memory_order_relaxed);
  while (count != 0 && !counts_[place].compare_exchange_weak(count, count - 1, std::memory_order_acq_rel)) {}
}

bool LookClock::is_due() noexcept {
  const std::int64_t now = Clock::now().time_since_epoch().count();
  std::int64_t last = last_.load(std::memory_order_relaxed);
  const bool lately = last <= now && last >= now - Duration{after}.count();
  return !lately && last_.compare_exchange_strong(last, now, std::memory_order_relaxed);
}

}  // namespace troupe::detail
