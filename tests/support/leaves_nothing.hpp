// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include "processes.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::test {

/// A fixture that gives each test a keeper of its own, and whose test fails if the keeper, a process that it
/// has started, a descriptor or a memory file is there after it.
///
/// What is compared is the process with a fresh keeper before the test, and with another one after it, since
/// the link and the mailbox of a process stay until they are made anew. Where PID 1 does not reap, the keeper
/// stays there as a zombie: that is not ours to mend, and no process that runs.
class LeavesNothing : public ::testing::Test {
 protected:
  LeavesNothing();
  ~LeavesNothing() override;

  /// Ends the present keeper and starts another; false if the old one would not end.
  static bool renew();

 private:
  Holdings before_;
};

}  // namespace troupe::test
