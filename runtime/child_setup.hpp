// SPDX-License-Identifier: MIT
#pragma once
// Internal. Between clone and exec, in a child that still shares its parent's memory.

#include <sched.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>

namespace troupe::detail {

/// In the order of their doing. Names of the stages: program_start.cpp.
enum class SetupStage : std::uint8_t {
  none,
  clone,
  signals,
  descriptors,
  umask,
  process_group,
  niceness,
  processors,
  groups,
  group,
  user,
  folder,
  limits,
  privileges,
  parent,
  exec,
};

/// `from` becomes `to`, without close-on-exec.
struct DescriptorMove {
  int from = -1;
  int to = -1;
};

struct LimitSetting {
  int resource = 0;
  rlimit value{};
};

/// All that a child needs, made before it exists: everything is borrowed, nothing is allocated.
struct ChildSetup {
  std::span<DescriptorMove> moves{};  ///< the child changes them in place
  int above = 3;                      ///< no move leads to this number or a higher one
  std::optional<mode_t> umask{};
  bool new_group = false;
  bool new_session = false;
  std::optional<int> niceness{};
  const cpu_set_t* processors = nullptr;
  std::optional<std::span<const gid_t>> groups{};
  std::optional<gid_t> group{};
  std::optional<uid_t> user{};
  const char* folder = nullptr;
  std::span<const LimitSetting> limits{};
  bool no_new_privileges = false;
  bool kill_with_parent = false;
  pid_t parent = 0;
  std::span<const char* const> candidates{};  ///< paths to try, as execvp would
  char* const* words = nullptr;               ///< ends with a null pointer, as the next
  char* const* environment = nullptr;

  // Said by the child.
  SetupStage stage = SetupStage::none;  ///< that failed
  int errnum = 0;
};

struct ClonedChild {
  pid_t pid = -1;
  int pidfd = -1;  ///< owned by who asked
};

/// Starts it, and returns when it has executed or `setup.stage` says what failed: such a child is reaped.
///
/// The child is a clone with CLONE_VM and CLONE_VFORK, on a stack of its own: the calling thread sleeps until
/// it executes or ends, all signals blocked in both, so no handler can run in the child. Nothing is copied,
/// hence the same cost for any parent. It makes bare system calls alone: glibc's wrappers could take locks of
/// other threads (setuid wakes them all), and sanitizers would take the child's descriptors for ours. Its
/// memory being ours, it says what failed by a store.
[[nodiscard]] ClonedChild clone_and_execute(ChildSetup& setup) noexcept;

}  // namespace troupe::detail
