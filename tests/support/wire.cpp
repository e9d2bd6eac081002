// SPDX-License-Identifier: MIT
#include "wire.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/result.hpp>
#include <troupe/transport/syscall.hpp>
#include <utility>

namespace troupe::test {
namespace {

std::pair<OwnedFd, OwnedFd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) == -1) throw Failure{detail::system_error("pipe2", errno)};
  return {OwnedFd{ends[0]}, OwnedFd{ends[1]}};
}

std::string path_of(const OwnedFd& fd) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
}

OwnedFd open_by(const std::string& path, int flags) {
  return std::move(detail::owned(::open(path.c_str(), flags | O_CLOEXEC), "open " + path)).value();
}

void write_all(int fd, std::string_view bytes) {
  const auto written = detail::retried([&] { return ::write(fd, bytes.data(), bytes.size()); });
  if (written != static_cast<ssize_t>(bytes.size())) throw Failure{detail::system_error("write", errno)};
}

}  // namespace

Inbox::Inbox() {
  std::tie(read_end_, write_end_) = make_pipe();
  path_ = path_of(write_end_);
}

std::optional<std::string> Inbox::next(Duration within) {
  const TimePoint deadline = deadline_in(within);
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!detail::wait_readable(read_end_.get(), deadline)) return std::nullopt;
    std::array<char, 4096> block{};
    const auto bytes = detail::retried([&] { return ::read(read_end_.get(), block.data(), block.size()); });
    if (bytes > 0) buffer_.append(block.data(), static_cast<std::size_t>(bytes));
  }
}

int Inbox::next_number() {
  const auto line = next();
  if (!line) throw Failure{{ErrorKind::timed_out, 0, "inbox: nobody has said a number"}};
  return std::stoi(*line);
}

void say(const std::string& inbox, std::string_view line) {
  write_all(open_by(inbox, O_WRONLY).get(), std::string{line} + "\n");
}

Gate::Gate() {
  std::tie(read_end_, write_end_) = make_pipe();
  path_ = path_of(read_end_);
}

void Gate::open(std::size_t times) { write_all(write_end_.get(), std::string(times, '.')); }

void pass(const std::string& gate) {
  const OwnedFd fd = open_by(gate, O_RDONLY);
  char permit = 0;
  if (detail::retried([&] { return ::read(fd.get(), &permit, 1); }) != 1)
    throw Failure{{ErrorKind::closed, 0, "gate: the test has gone"}};
}

void wait_for_ever() {
  for (;;) ::pause();
}

}  // namespace troupe::test
