// SPDX-License-Identifier: MIT
#include <troupe/transport/syscall.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
extern "C" {
#include <sys/pidfd.h>
}

#include <algorithm>
#include <limits>
#include <system_error>

namespace troupe::detail {
namespace {

bool wait_for(int fd, short events, TimePoint deadline) noexcept {
  pollfd one{fd, events, 0};
  for (;;) {
    const int ready = ::poll(&one, 1, poll_timeout(deadline));
    if (ready > 0) return true;
    if (ready == 0 && Clock::now() >= deadline) return false;
    // Without memory for a wait: rather a look too many than a deadline that is reported early.
    if (ready < 0 && errno != EINTR) return Clock::now() < deadline;
  }
}

}  // namespace

Error system_error(std::string_view what, int errnum) {
  const bool limit = errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == ENOSPC ||
                     errnum == EAGAIN || errnum == EDQUOT || errnum == EFBIG || errnum == ENOBUFS ||
                     errnum == ETOOMANYREFS;
  return Error{limit ? ErrorKind::exhausted : ErrorKind::system, errnum,
               std::string{what} + ": " + std::generic_category().message(errnum)};
}

OwnedFd beyond_standard(OwnedFd fd) noexcept {
  if (fd.get() > STDERR_FILENO) return fd;
  const int higher = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  return higher == -1 ? std::move(fd) : OwnedFd{higher};
}

Result<OwnedFd> owned(int fd, std::string_view what) {
  if (fd == -1) return system_failure(what);
  return beyond_standard(OwnedFd{fd});
}

Result<OwnedFd> copied(int fd, std::string_view what) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy != -1) return OwnedFd{copy};
  // That number itself may lie beyond the limit: as much without room as with all lower ones taken.
  return system_failure(what, errno == EINVAL ? EMFILE : errno);
}

Result<OwnedFd> open_pidfd(int pid) { return owned(::pidfd_open(pid, 0), "pidfd_open"); }

int poll_timeout(TimePoint deadline) noexcept {
  if (deadline == never) return -1;
  const auto left = deadline - Clock::now();
  if (left <= Duration::zero()) return 0;
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<long long>(milliseconds, std::numeric_limits<int>::max()));
}

bool wait_readable(int fd, TimePoint deadline) noexcept { return wait_for(fd, POLLIN, deadline); }

bool wait_writable(int fd, TimePoint deadline) noexcept { return wait_for(fd, POLLOUT, deadline); }

}  // namespace troupe::detail
