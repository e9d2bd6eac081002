// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>

namespace troupe::test {

/// A plain fork of the test that runs `body` and exits with what it returns; an exception is exit code 99.
///
/// Owner: the thread that made it, with which the child dies. Killed and reaped with this object, so a test
/// that fails leaves none behind. No assertions of GoogleTest inside: nobody would hear of them.
class Forked {
 public:
  explicit Forked(const std::function<int()>& body);
  Forked(Forked&& other) noexcept : pid_{std::exchange(other.pid_, 0)}, pidfd_{std::move(other.pidfd_)} {}
  Forked& operator=(Forked&& other) noexcept;
  ~Forked() { kill(); }

  /// The wait status, or none if it still runs at the deadline.
  [[nodiscard]] std::optional<int> wait(TimePoint deadline);
  /// As wait(), for a child that is expected to end by itself: its exit code, -1 otherwise.
  [[nodiscard]] int exit_code(TimePoint deadline);
  void kill() noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Readable when the child has ended.
  [[nodiscard]] int descriptor() const noexcept { return pidfd_.get(); }

 private:
  pid_t pid_ = 0;
  OwnedFd pidfd_;
};

/// Waits until that thread, of whatever process, sleeps in the kernel; false if it does not by the deadline.
[[nodiscard]] bool falls_asleep(pid_t thread, TimePoint deadline);

/// What a child does that waits to be killed.
int wait_to_be_killed();

}  // namespace troupe::test
