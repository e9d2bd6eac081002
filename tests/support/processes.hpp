// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <vector>

// What /proc knows of processes that are not the test's own children, and what a test does to its own.
namespace troupe::test {

/// Guards against a hang; no test expects to wait so long.
inline constexpr Duration patience = std::chrono::seconds{10};

[[nodiscard]] std::vector<pid_t> children_of(pid_t parent);
[[nodiscard]] std::string name_of(pid_t pid);
/// The value of one line of /proc/<pid>/status, without its leading blanks.
[[nodiscard]] std::string status_line(pid_t pid, const std::string& field);
/// Everything that the keeper with this pid has started, or that they have: it carries its role.
[[nodiscard]] std::vector<pid_t> started_by(pid_t keeper);

/// The present keeper of the test, started if it is not there, and the process that forks for it.
[[nodiscard]] pid_t keeper_pid();
[[nodiscard]] pid_t zygote_pid();

/// A process that is not our child, held by its pidfd, so that its number cannot become somebody else's.
class Watched {
 public:
  /// Throws if there is no such process.
  explicit Watched(pid_t pid);
  /// Waits for its end. A zombie has ended: whether its parent reaps it is not its own affair.
  [[nodiscard]] bool gone(Duration within = patience) const;
  void signal(int number) const;
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_;
  OwnedFd pidfd_;
};

/// A descriptor of this process that is another for a while; -1: closed.
class Redirected {
 public:
  Redirected(int fd, int to);
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;
  ~Redirected();

 private:
  int fd_;
  OwnedFd before_;
};

}  // namespace troupe::test
