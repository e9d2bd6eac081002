// SPDX-License-Identifier: MIT
#include "forked.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

[[noreturn]] void run(const std::function<int()>& body, pid_t parent) {
  constexpr int threw = 99;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(threw);
  try {
    ::_exit(body());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "forked child: %s\n", error.what());
    ::_exit(threw);
  }
}

}  // namespace

Forked::Forked(const std::function<int()>& body) {
  const auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) run(body, parent);
  if (pid_ == -1) throw Failure{detail::system_error("fork", errno)};
  pidfd_ = OwnedFd{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))};
}

Forked& Forked::operator=(Forked&& other) noexcept {
  kill();
  pid_ = std::exchange(other.pid_, 0);
  pidfd_ = std::move(other.pidfd_);
  return *this;
}

std::optional<int> Forked::wait(TimePoint deadline) {
  if (pid_ == 0 || !detail::wait_readable(pidfd_.get(), deadline)) return std::nullopt;
  int status = 0;
  detail::retried([&] { return ::waitpid(pid_, &status, 0); });
  pid_ = 0;
  pidfd_.reset();
  return status;
}

int Forked::exit_code(TimePoint deadline) {
  const auto status = wait(deadline);
  return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
}

void Forked::kill() noexcept {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
  detail::retried([&] { return ::waitpid(pid_, nullptr, 0); });
  pid_ = 0;
  pidfd_.reset();
}

bool falls_asleep(pid_t thread, TimePoint deadline) {
  const std::string path = "/proc/" + std::to_string(thread) + "/stat";
  while (Clock::now() < deadline) {
    std::string line;
    std::getline(std::ifstream{path}, line);
    // "1234 (name) S …", and the name may hold anything.
    if (const auto at = line.rfind(") "); at != std::string::npos && line[at + 2] == 'S') return true;
    std::this_thread::yield();
  }
  return false;
}

int wait_to_be_killed() {
  for (;;) ::pause();
}

}  // namespace troupe::test
