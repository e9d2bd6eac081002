// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <troupe/transport/owned_fd.hpp>

#include "processes.hpp"

// How a test and the processes it has started wait for each other: pipes that are found by a path, so that
// they work for processes that share no descriptor with the test.
namespace troupe::test {

/// Lines that other processes say(). A line of at most 4,096 bytes is never torn.
class Inbox {
 public:
  Inbox();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The next line; none at the deadline.
  [[nodiscard]] std::optional<std::string> next(Duration within = patience);
  /// The next line as a number. Throws at the deadline.
  [[nodiscard]] int next_number();

 private:
  OwnedFd read_end_;
  OwnedFd write_end_;
  std::string path_;
  std::string buffer_{};
};
void say(const std::string& inbox, std::string_view line);

/// Permits that the test gives and other processes wait for, one each.
class Gate {
 public:
  Gate();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  void open(std::size_t times = 1);

 private:
  OwnedFd read_end_;
  OwnedFd write_end_;
  std::string path_;
};
void pass(const std::string& gate);

/// Until a signal ends the process.
[[noreturn]] void wait_for_ever();

}  // namespace troupe::test
