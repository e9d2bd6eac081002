// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "processes.hpp"

namespace troupe::test {

/// A program of tests/children, with its output and error stream in hand. Killed and reaped with this object.
class Program {
 public:
  explicit Program(const std::string& path, const std::vector<std::string>& arguments = {});
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  /// The next line of what it and its children write; none at its end or at the deadline.
  [[nodiscard]] std::optional<std::string> line(Duration within = patience);
  /// The next line as a number. Throws if there is none.
  [[nodiscard]] int number();
  /// Everything up to the end of its output.
  [[nodiscard]] std::string rest(Duration within = patience);
  /// Its wait status, or none at the deadline.
  [[nodiscard]] std::optional<int> wait(Duration within = patience);
  void kill();
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  bool read_more(TimePoint deadline);

  pid_t pid_ = 0;
  OwnedFd pidfd_{};
  OwnedFd output_{};
  std::string buffer_{};
};

}  // namespace troupe::test
