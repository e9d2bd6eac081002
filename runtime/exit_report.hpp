// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <troupe/runtime/exit_status.hpp>
#include <troupe/transport/clock.hpp>

namespace troupe {

/// What a process used, with what it had waited for itself.
struct ResourceUsage {
  Duration user{};
  Duration system{};
  /// An upper bound: the kernel counts from the clone on, so it is never below what the process that was
  /// cloned had in memory then (the zygote: a few MiB; of a program started by exec: whoever started it).
  std::uint64_t peak_memory_bytes = 0;
};

/// How a child process ended, told once and whole.
struct ExitReport {
  std::string name{};
  int pid = 0;            ///< of the process that ended; for people, never to be signalled
  ExitReason reason{};    ///< the status and what its supervisor knows of it
  ResourceUsage usage{};  ///< all zero where nobody could tell
  [[nodiscard]] const ExitStatus& status() const noexcept { return reason.status; }
};

/// "worker (pid 4711) ended: SIGKILL".
std::ostream& operator<<(std::ostream& out, const ExitReport& report);

}  // namespace troupe
