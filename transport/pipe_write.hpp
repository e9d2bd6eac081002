// SPDX-License-Identifier: MIT
#pragma once
// Internal. Writing to an OS pipe in a program that knows nothing of it.

#include <pthread.h>
#include <sys/uio.h>

#include <csignal>
#include <span>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {

/// Keeps SIGPIPE from this thread, since there is no MSG_NOSIGNAL for a pipe. One that is pending already
/// stays so.
class WithoutSigpipe {
 public:
  WithoutSigpipe() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    if (::sigismember(&before_, SIGPIPE) == 0) return;
    sigset_t pending{};
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;
  ~WithoutSigpipe() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// After a write that failed with EPIPE.
  void take_back() const noexcept {
    if (was_pending_) return;
    const timespec now{};
    retried([&] { return ::sigtimedwait(&sigpipe_, nullptr, &now); });
  }

 private:
  sigset_t sigpipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

/// writev() whose EPIPE is an error and no signal.
inline ssize_t write_to_pipe(int fd, std::span<const iovec> parts) noexcept {
  const WithoutSigpipe quiet;
  const auto written = retried([&] { return ::writev(fd, parts.data(), static_cast<int>(parts.size())); });
  const int error = errno;
  if (written == -1 && error == EPIPE) quiet.take_back();
  errno = error;
  return written;
}

}  // namespace troupe::detail
