// SPDX-License-Identifier: MIT
#pragma once
// Internal. A child that executes a program: its identity, its signals, its end.

#include <mutex>
#include <optional>
#include <string>
#include <troupe/runtime/exit_report.hpp>
#include <troupe/runtime/subprocess.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

/// How long SIGKILL may take: longer only where the kernel itself waits, for a disk that is gone, say.
inline constexpr Duration kill_within = std::chrono::seconds{30};

/// Invariant: reaped once, by reap(); killed and reaped with this object at the latest, but for a plain
/// fork's child, which only has a copy. Any thread may call anything.
class RunningProgram {
 public:
  RunningProgram(std::string name, int pid, OwnedFd pidfd, ProcessGroup group)
      : name_{std::move(name)}, pid_{pid}, pidfd_{std::move(pidfd)}, group_{group} {}
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;
  ~RunningProgram();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] int pid() const noexcept { return pid_; }
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] Result<void> check_fork() const { return guard_.check("subprocess"); }
  [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
  [[nodiscard]] bool ended() const noexcept;
  /// Waits for the end alone.
  [[nodiscard]] bool wait(TimePoint deadline) const noexcept;

  Result<void> signal(int number);  ///< to it alone; `down` if it has ended
  /// Part of a stop: to its group, where it has one of its own. Its end is a shutdown from now on, and takes
  /// the rest of the group with it.
  void ask(int number);

  /// How it ended; none while it lives.
  [[nodiscard]] std::optional<ExitReport> reap();

 private:
  void signal_group(int number) noexcept;
  [[nodiscard]] bool is_unreaped() const noexcept;

  ForkGuard guard_;
  std::string name_;
  int pid_;
  OwnedFd pidfd_;
  ProcessGroup group_;
  std::mutex
      lock_{};  // of what follows, and of signals to the group, whose number is ours until it is reaped
  std::optional<ExitReport> report_{};
  int asked_by_ = 0;  // the last signal of a stop that it got while it lived
  bool group_goes_ = false;
};

}  // namespace troupe::detail
