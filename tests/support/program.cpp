// SPDX-License-Identifier: MIT
#include "program.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <troupe/transport/result.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

Program::Program(const std::string& path, const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) == -1) throw Failure{detail::system_error("pipe2", errno)};
  output_ = OwnedFd{ends[0]};
  const OwnedFd input{ends[1]};
  std::vector<char*> words{const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, input.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, input.get(), 2);
  const int error = ::posix_spawn(&pid_, path.c_str(), &actions, nullptr, words.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw Failure{detail::system_error("start " + path, error)};
  pidfd_ = OwnedFd{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))};
}

Program::~Program() {
  kill();
  [[maybe_unused]] const auto status = wait();
}

bool Program::read_more(TimePoint deadline) {
  if (!detail::wait_readable(output_.get(), deadline)) return false;
  std::array<char, 4096> block{};
  const auto bytes = detail::retried([&] { return ::read(output_.get(), block.data(), block.size()); });
  if (bytes > 0) buffer_.append(block.data(), static_cast<std::size_t>(bytes));
  return bytes > 0;
}

std::optional<std::string> Program::line(Duration within) {
  const TimePoint deadline = deadline_in(within);
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string text = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return text;
    }
    if (!read_more(deadline)) return std::nullopt;
  }
}

int Program::number() {
  const auto text = line();
  if (!text) throw Failure{{ErrorKind::timed_out, 0, "program: it has not said a number"}};
  return std::stoi(*text);
}

std::string Program::rest(Duration within) {
  const TimePoint deadline = deadline_in(within);
  while (read_more(deadline)) {}
  return std::exchange(buffer_, {});
}

std::optional<int> Program::wait(Duration within) {
  if (pid_ == 0 || !detail::wait_readable(pidfd_.get(), deadline_in(within))) return std::nullopt;
  int status = 0;
  detail::retried([&] { return ::waitpid(pid_, &status, 0); });
  pid_ = 0;
  return status;
}

void Program::kill() {
  if (pid_ != 0) ::kill(pid_, SIGKILL);  // not reaped yet, so the number is its own
}

}  // namespace troupe::test
