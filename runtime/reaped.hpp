// SPDX-License-Identifier: MIT
#pragma once
// Internal. What the kernel tells of a process that has ended, once.

#include <sys/wait.h>

#include <optional>
#include <troupe/runtime/exit_report.hpp>

namespace troupe::detail {

/// A process that was a child of ours and is none any more: its number may be anybody's.
struct Reaped {
  int pid = 0;
  ExitStatus status{};
  ResourceUsage usage{};
};

/// Reaps a child that has ended: `type` and `id` as for waitid. None if it lives, or a tracer is told first;
/// Lost if somebody else has reaped it.
[[nodiscard]] std::optional<Reaped> reap(idtype_t type, id_t id);

}  // namespace troupe::detail
