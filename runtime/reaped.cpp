// SPDX-License-Identifier: MIT
#include <troupe/runtime/reaped.hpp>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

Duration duration_of(const timeval& time) {
  return std::chrono::seconds{time.tv_sec} + std::chrono::microseconds{time.tv_usec};
}

ResourceUsage usage_of(const rusage& usage) {
  return {duration_of(usage.ru_utime), duration_of(usage.ru_stime),
          static_cast<std::uint64_t>(usage.ru_maxrss) * 1024};
}

ExitStatus status_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return Exited{info.si_status};
  return Signaled{info.si_status, info.si_code == CLD_DUMPED};
}

}  // namespace

std::optional<Reaped> reap(idtype_t type, id_t id) {
  siginfo_t info{};
  rusage usage{};
  // The C library's waitid leaves the usage out.
  const auto waited =
      retried([&] { return ::syscall(SYS_waitid, type, id, &info, WEXITED | WNOHANG, &usage); });
  if (waited == -1) return Reaped{0, Lost{}, {}};
  if (info.si_pid == 0) return std::nullopt;
  return Reaped{info.si_pid, status_of(info), usage_of(usage)};
}

}  // namespace troupe::detail
