// SPDX-License-Identifier: MIT
#include <troupe/runtime/running_program.hpp>

#include <sys/wait.h>
extern "C" {
#include <sys/pidfd.h>
}

#include <csignal>
#include <troupe/runtime/reaped.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr unsigned to_process_group = 1U << 2U;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9

ExitReason reason_of(const ExitStatus& status, int asked_by) {
  if (status == ExitStatus{Lost{}})
    return {ExitCause::failed, status,
            "reaped elsewhere; try not to ignore SIGCHLD nor to wait for any child (waitpid(-1))"};
  if (asked_by != 0) return {ExitCause::shutdown, status, "after " + to_string(Signaled{asked_by})};
  if (std::holds_alternative<Signaled>(status)) return {ExitCause::signaled, status};
  return {status == ExitStatus{Exited{0}} ? ExitCause::normal : ExitCause::failed, status};
}

}  // namespace

RunningProgram::~RunningProgram() {
  if (forked() || reap()) return;
  ask(SIGKILL);
  if (wait(deadline_in(kill_within))) [[maybe_unused]]
    const auto report = reap();
}

bool RunningProgram::ended() const noexcept { return wait_readable(pidfd_.get(), TimePoint{}); }
bool RunningProgram::wait(TimePoint deadline) const noexcept { return wait_readable(pidfd_.get(), deadline); }

Result<void> RunningProgram::signal(int number) {
  if (auto own = check_fork(); !own) return own;
  if (ended()) return failure(ErrorKind::down, "signal to " + name_ + ": it has ended");
  if (::pidfd_send_signal(pidfd_.get(), number, nullptr, 0) == 0) return {};
  if (errno == ESRCH) return failure(ErrorKind::down, "signal to " + name_ + ": it has ended");
  if (errno == EINVAL)
    return failure(ErrorKind::invalid,
                   "signal to " + name_ + ": there is no signal " + std::to_string(number));
  return system_failure("signal to " + name_);
}

void RunningProgram::ask(int number) {
  const std::lock_guard lock{lock_};
  if (report_) return;
  group_goes_ = true;
  if (ended()) return;  // reap() clears the group
  asked_by_ = number;
  signal_group(number);
  if (number != SIGKILL) signal_group(SIGCONT);  // one that is suspended would not hear of it
}

/// Whether its number is still its own: somebody else may have reaped it.
bool RunningProgram::is_unreaped() const noexcept {
  siginfo_t info{};
  return ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void RunningProgram::signal_group(int number) noexcept {
  if (group_ != ProcessGroup::inherit) {
    if (::pidfd_send_signal(pidfd_.get(), number, nullptr, to_process_group) == 0) return;
    if (errno == EINVAL && is_unreaped() && ::kill(-pid_, number) == 0) return;
  }
  ::pidfd_send_signal(pidfd_.get(), number, nullptr, 0);
}

std::optional<ExitReport> RunningProgram::reap() {
  const std::lock_guard lock{lock_};
  if (report_ || forked() || !ended()) return report_;
  if (group_goes_) signal_group(SIGKILL);
  const auto reaped = detail::reap(P_PIDFD, static_cast<id_t>(pidfd_.get()));
  if (!reaped) return std::nullopt;
  report_ = ExitReport{name_, pid_, reason_of(reaped->status, asked_by_), reaped->usage};
  return report_;
}

}  // namespace troupe::detail
