// SPDX-License-Identifier: MIT
#include <troupe/runtime/fork.hpp>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>
#include <troupe/runtime/reaped.hpp>
#include <troupe/runtime/running_program.hpp>
#include <troupe/transport/syscall.hpp>
#include <vector>

namespace troupe {
namespace {

constexpr int exit_after_exception = 1;

/// "4712 (reader)", of every thread but this one.
std::vector<std::string> other_threads() {
  std::vector<std::string> names;
  std::error_code gone;  // one may end while we look
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task", gone}) {
    const std::string id = task.path().filename();
    if (id == std::to_string(::gettid())) continue;
    std::string name;
    std::getline(std::ifstream{task.path() / "comm"}, name);
    names.push_back(std::string{id}.append(" (").append(name).append(")"));
  }
  return names;
}

/// One that was joined may be in the kernel for a moment longer.
constexpr auto last_steps = std::chrono::milliseconds{20};

Result<void> check_alone() {
  auto others = other_threads();
  for (const TimePoint by = deadline_in(last_steps); !others.empty() && Clock::now() < by;) {
    std::this_thread::yield();
    others = other_threads();
  }
  if (others.empty()) return {};
  std::string list;
  for (const std::string& one : others) list.append(list.empty() ? "" : ", ").append(one);
  return failure(ErrorKind::refused, "fork: other threads run, whose locks the child would hold for ever: " +
                                         list + "; try Process, or fork before they start");
}

[[noreturn]] void leave(int code) {
  std::cout.flush();
  std::fflush(nullptr);
  ::_exit(code);
}

[[noreturn]] void run_child(const std::function<int()>& body, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(exit_after_exception);
  try {
    leave(body());
  } catch (const std::exception& error) {
    std::cerr << "fork: its body threw: " << error.what() << '\n';
  } catch (...) {
    std::cerr << "fork: its body threw what is no exception\n";
  }
  leave(exit_after_exception);
}

}  // namespace

ForkedProcess::ForkedProcess(std::unique_ptr<detail::RunningProgram> child,
                             const ForkOptions& options) noexcept
    : child_{std::move(child)}, daemon_{options.daemon}, stop_within_{options.stop_within} {}
ForkedProcess::ForkedProcess(ForkedProcess&&) noexcept = default;
ForkedProcess& ForkedProcess::operator=(ForkedProcess&& other) noexcept {
  std::swap(child_, other.child_);
  std::swap(daemon_, other.daemon_);
  std::swap(stop_within_, other.stop_within_);
  return *this;
}
ForkedProcess::~ForkedProcess() {
  if (!child_ || child_->forked()) return;
  [[maybe_unused]] const auto ended = daemon_ ? stop() : join();
}

Result<ExitReport> ForkedProcess::join(Duration within) {
  if (auto own = child_->check_fork(); !own) return failure(std::move(own));
  const TimePoint deadline = deadline_in(within);
  for (;;) {
    const bool ended = child_->wait(deadline);
    if (auto report = child_->reap()) return *report;
    if (!ended) return failure(ErrorKind::timed_out, "fork " + child_->name() + ": it has not ended in time");
  }
}

Result<ExitReport> ForkedProcess::stop() {
  if (auto own = child_->check_fork(); !own) return failure(std::move(own));
  child_->ask(SIGTERM);
  if (child_->wait(deadline_in(stop_within_))) return join();
  child_->ask(SIGKILL);
  return join(detail::kill_within);
}

Result<void> ForkedProcess::signal(int number) { return child_->signal(number); }
bool ForkedProcess::alive() const { return !child_->forked() && !child_->ended(); }
std::optional<ExitReport> ForkedProcess::exit_report() const { return child_->reap(); }
int ForkedProcess::sentinel() const noexcept { return child_->pidfd(); }
int ForkedProcess::pid() const noexcept { return child_->pid(); }

namespace detail {

Result<ForkedProcess> fork_and_run(const std::function<int()>& body, const ForkOptions& options) {
  if (auto alone = check_alone(); !alone) return failure(std::move(alone));
  // The child waits for it: where the program ignores SIGCHLD, one that ended at once would leave no trace.
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) == -1) return system_failure("fork: pipe");
  OwnedFd known_read = beyond_standard(OwnedFd{ends[0]});
  OwnedFd known_write = beyond_standard(OwnedFd{ends[1]});
  std::cout.flush();
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == -1) return system_failure("fork");
  if (pid == 0) {
    known_write.reset();
    char nothing = 0;
    [[maybe_unused]] const auto known = retried([&] { return ::read(known_read.get(), &nothing, 1); });
    known_read.reset();
    run_child(body, parent);
  }
  auto pidfd = open_pidfd(pid);
  known_write.reset();
  if (!pidfd) {
    ::kill(pid, SIGKILL);  // not reaped yet, so the number is its own
    [[maybe_unused]] const auto reaped = reap(P_PID, static_cast<id_t>(pid));
    return failure(std::move(pidfd));
  }
  return ForkedProcess{std::make_unique<RunningProgram>(options.name.empty() ? "fork" : options.name, pid,
                                                        std::move(*pidfd), ProcessGroup::inherit),
                       options};
}

}  // namespace detail
}  // namespace troupe
