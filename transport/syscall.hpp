// SPDX-License-Identifier: MIT
#pragma once
// Internal. The one place that reads errno.

#include <cerrno>
#include <string>
#include <string_view>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// The current errno as an Error: kind `exhausted` where a limit was hit (EMFILE, ENFILE,
/// ENOMEM, ENOSPC, EAGAIN of fork), else `system`; text "what: strerror".
[[nodiscard]] Error system_error(std::string_view what, int errnum);
[[nodiscard]] inline tl::unexpected<Error> system_failure(std::string_view what, int errnum = errno) {
  return tl::unexpected<Error>{system_error(what, errnum)};
}

/// Repeats a call that a signal interrupted. Never for close().
template <class Call>
auto retried(Call call) {
  decltype(call()) result;
  do result = call();
  while (result == -1 && errno == EINTR && !TROUPE_MUTANT(interruption_not_retried));
  return result;
}

/// The same under a number above 2. Where the program has closed 0, 1 or 2, whoever opens those next means
/// them, and would have ours. As it is when no other number is left.
[[nodiscard]] OwnedFd beyond_standard(OwnedFd fd) noexcept;

/// Takes ownership of what a call returned, beyond the standard numbers, or says why it failed.
[[nodiscard]] Result<OwnedFd> owned(int fd, std::string_view what);

/// One more descriptor for the same open file, close-on-exec and beyond the standard numbers.
[[nodiscard]] Result<OwnedFd> copied(int fd, std::string_view what);

/// Of a child that was not reaped yet, or of this process: another's number may be a stranger's by now.
[[nodiscard]] Result<OwnedFd> open_pidfd(int pid);

/// Milliseconds for poll and epoll_wait until `deadline`, rounded up so that a wait never ends early; -1 for
/// `never`.
[[nodiscard]] int poll_timeout(TimePoint deadline) noexcept;

/// Waits until `fd` is readable or has hung up. False at the deadline, never before; true also where the
/// kernel cannot wait at all, so look in any case.
[[nodiscard]] bool wait_readable(int fd, TimePoint deadline) noexcept;
/// Waits until `fd` takes more, or nobody will read what it takes. False at the deadline.
[[nodiscard]] bool wait_writable(int fd, TimePoint deadline) noexcept;

/// Of a write: nobody is there to read it.
[[nodiscard]] inline bool is_gone(int errnum) noexcept {
  return errnum == EPIPE || errnum == ECONNRESET || errnum == ENOTCONN;
}

}  // namespace troupe::detail
