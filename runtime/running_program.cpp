// SPDX-License-Identifier: MIT
#include <troupe/runtime/running_program.hpp>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <sys/pidfd.h>
}

#include <csignal>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr unsigned to_process_group = 1U << 2U;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9

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
  siginfo_t info{};
  rusage usage{};
  const auto waited =
      retried([&] { return ::syscall(SYS_waitid, P_PIDFD, pidfd_.get(), &info, WEXITED | WNOHANG, &usage); });
  const ExitStatus status = waited == -1 ? ExitStatus{Lost{}} : status_of(info);
  if (waited == 0 && info.si_pid == 0) return std::nullopt;  // its tracer is told first
  report_ = ExitReport{name_, pid_, reason_of(status, asked_by_), usage_of(usage)};
  return report_;
}

}  // namespace troupe::detail
