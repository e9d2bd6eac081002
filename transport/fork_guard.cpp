// SPDX-License-Identifier: MIT
#include <troupe/transport/fork_guard.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace troupe::detail {
namespace {

// Of the process itself, so global by nature. The lock is held over each fork: a child sees a whole list.
struct Registry {
  std::mutex lock;
  std::vector<int> held{};
  std::atomic<std::uint64_t> generation{1};
};
Registry& registry() {
  static Registry instance;
  return instance;
}

void before_fork() { registry().lock.lock(); }
void after_fork_in_parent() { registry().lock.unlock(); }
void after_fork_in_child() {
  Registry& own = registry();
  // The numbers stay taken: whoever destroys the copied objects closes them once more.
  const int nothing = own.held.empty() ? -1 : ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : own.held)
    if (nothing == -1 || ::dup3(nothing, fd, O_CLOEXEC) == -1) ::close(fd);
  if (nothing != -1) ::close(nothing);
  own.held.clear();
  own.generation.fetch_add(1, std::memory_order_relaxed);
  own.lock.unlock();
}

Registry& watched_registry() {
  static const int registered = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  TROUPE_ASSERT(registered == 0);
  return registry();
}

}  // namespace

std::uint64_t fork_generation() noexcept {
  return watched_registry().generation.load(std::memory_order_relaxed);
}

Result<void> ForkGuard::check(const char* what) const {
  if (!forked()) return {};
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
  std::swap(fd_, other.fd_);
  return *this;
}

HeldByThisProcess::~HeldByThisProcess() {
  if (fd_ == -1) return;
  Registry& own = watched_registry();
  const std::lock_guard lock{own.lock};
  // Forgotten already where this is a forked child's copy.
  if (const auto at = std::find(own.held.begin(), own.held.end(), fd_); at != own.held.end())
    own.held.erase(at);
}

}  // namespace troupe::detail
