// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace troupe::test {

/// What a process can leave behind: open descriptors, mapped anonymous memory files, children (zombies too).
struct Holdings {
  std::map<int, std::string> descriptors{};  ///< number → what it leads to
  std::vector<std::string> mappings{};       ///< of memory files; equal ones as often as they are mapped
  std::vector<pid_t> children{};

  [[nodiscard]] static Holdings now();
  [[nodiscard]] static Holdings of(pid_t pid);
};

/// Mappings of addresses alone, which a mapping that was given up half-way would leave. Threads have some
/// too.
[[nodiscard]] std::size_t reserved_addresses(pid_t pid);

/// One line for each thing held `after` and not `before`.
[[nodiscard]] std::vector<std::string> left_over(const Holdings& before, const Holdings& after);

/// A fixture whose test fails if it leaves a descriptor, a memory file or a child.
///
/// Looks when it is constructed and when it is destroyed, so members of a derived fixture may own things too.
class NothingLeft : public ::testing::Test {
 protected:
  NothingLeft();
  ~NothingLeft() override;

 private:
  Holdings before_;
};

}  // namespace troupe::test
