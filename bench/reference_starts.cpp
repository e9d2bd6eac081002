// SPDX-License-Identifier: MIT
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string_view>

#include "reference.hpp"

namespace troupe::bench::bare {
namespace {

constexpr char spawned_mark[] = "bench:stamp";

[[noreturn]] void sleep_for_ever() {
  for (;;) ::pause();
}

}  // namespace

double fork_start(Stamp& stamp) {
  const std::int64_t before = now_ns();
  const pid_t pid = checked(::fork(), "fork");
  if (pid == 0) {
    stamp.set(now_ns());
    ::_exit(0);
  }
  ::waitpid(pid, nullptr, 0);
  return static_cast<double>(stamp.take() - before);
}

double spawn_start(Stamp& stamp) {
  std::string path = stamp.path();
  std::string mark = spawned_mark;
  std::string name = "bench";
  std::array<char*, 4> arguments{name.data(), mark.data(), path.data(), nullptr};
  pid_t pid = -1;
  const std::int64_t before = now_ns();
  if (::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments.data(), ::environ) != 0)
    throw std::runtime_error{"posix_spawn"};
  ::waitpid(pid, nullptr, 0);
  return static_cast<double>(stamp.take() - before);
}

void end_if_spawned(int argc, char** argv) {
  const std::int64_t now = now_ns();
  if (argc != 3 || std::string_view{argv[1]} != spawned_mark) return;
  Stamp::write(argv[2], now);
  ::_exit(0);
}

double fork_restart(Stamp& stamp) {
  const pid_t first = checked(::fork(), "fork");
  if (first == 0) sleep_for_ever();
  pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, first, 0)), POLLIN, 0};
  checked(ended.fd, "pidfd_open");
  pause_for(std::chrono::milliseconds{1});
  const std::int64_t before = now_ns();
  ::kill(first, SIGKILL);
  ::poll(&ended, 1, -1);
  ::waitpid(first, nullptr, 0);
  const pid_t second = checked(::fork(), "fork");
  if (second == 0) {
    stamp.set(now_ns());
    ::_exit(0);
  }
  ::waitpid(second, nullptr, 0);
  ::close(ended.fd);
  return static_cast<double>(stamp.take() - before);
}

}  // namespace troupe::bench::bare
