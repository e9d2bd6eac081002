// SPDX-License-Identifier: MIT
#include <troupe/transport/fork_guard.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace troupe::detail {
namespace {

// Of the process itself, so global by nature, and never destroyed: static objects may hold something, and
// exit handlers may fork. The lock is held over each fork: a child sees a whole list.
struct Registry {
  std::mutex lock;
  std::vector<int> held{};
};
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

/// Something readable, so that whoever waits for it looks and is refused. The number stays taken: whoever
/// destroys the copied object closes it once more. Without room for another descriptor it is the only free
/// one for a moment, and so the next one made.
void replace_by_nothing(int fd) noexcept {
  int nothing = ::eventfd(1, EFD_CLOEXEC);
  if (nothing == -1) {
    ::close(fd);
    nothing = ::eventfd(1, EFD_CLOEXEC);
  }
  if (nothing == -1 || nothing == fd) return;
  if (::dup3(nothing, fd, O_CLOEXEC) == -1) ::close(fd);
  ::close(nothing);
}

/// The caller has the lock.
void forget(std::vector<int>& held, int fd) noexcept {
  // Forgotten already where this is a forked child's copy.
  if (const auto at = std::find(held.begin(), held.end(), fd); at != held.end()) held.erase(at);
}

void before_fork() { registry().lock.lock(); }
void after_fork_in_parent() { registry().lock.unlock(); }
void after_fork_in_child() {
  Registry& own = registry();
  for (const int fd : own.held) replace_by_nothing(fd);
  own.held.clear();
  fork_generation.fetch_add(1, std::memory_order_relaxed);
  own.lock.unlock();
}

Registry& watched_registry() noexcept {
  static const int registered = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  TROUPE_ASSERT(registered == 0);
  return registry();
}

}  // namespace

void count_forks() noexcept { watched_registry(); }

Result<void> ForkGuard::refused(const char* what) {
  return failure(ErrorKind::refused,
                 std::string{what} +
                     ": it belongs to the process that this one was forked from; try handing an "
                     "end of its own to a Process");
}

HeldByThisProcess::HeldByThisProcess(int fd) : fd_{fd} {
  Registry& own = watched_registry();
  const std::lock_guard lock{own.lock};
  own.held.push_back(fd);
}

HeldByThisProcess::HeldByThisProcess(HeldByThisProcess&& other) noexcept
    : fd_{std::exchange(other.fd_, -1)} {}

HeldByThisProcess& HeldByThisProcess::operator=(HeldByThisProcess&& other) noexcept {
  HeldByThisProcess old{std::move(*this)};  // forgotten at once: its number may soon be another's
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

HeldByThisProcess::~HeldByThisProcess() {
  if (fd_ == -1) return;
  Registry& own = watched_registry();
  const std::lock_guard lock{own.lock};
  forget(own.held, fd_);
}

}  // namespace troupe::detail
