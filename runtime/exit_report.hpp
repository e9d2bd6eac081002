// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string>
#include <troupe/runtime/exit_status.hpp>
#include <troupe/transport/clock.hpp>

namespace troupe {

/// How a child process ended, told once and whole.
struct ExitReport {
  std::string name{};
  int pid = 0;          ///< of the process that ended; for people, never to be signalled
  ExitReason reason{};  ///< the status and what its supervisor knows of it
  [[nodiscard]] const ExitStatus& status() const noexcept { return reason.status; }
};

/// "worker (pid 4711) ended: SIGKILL".
std::ostream& operator<<(std::ostream& out, const ExitReport& report);

}  // namespace troupe
