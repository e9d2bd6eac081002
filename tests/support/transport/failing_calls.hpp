// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "transport/fault_case.hpp"

// The n-th system call fails, with each error, for n = 1, 2, … until a run comes through without one
// (SQLite's rule). A run takes place in a child under ptrace, once as it is, once with the fault and once
// more without: the second must be right or an Error that fits, the third right, and after both nothing may
// be left. What is left is looked at from outside, so that no injected call is used for it. close and munmap
// are carried out and only reported as failed, since that is what the kernel does.
namespace troupe::test {

struct CallTally {
  std::size_t calls = 0;     ///< system calls of one run
  std::size_t runs = 0;      ///< with a fault in each
  std::size_t absorbed = 0;  ///< of these: right all the same
  std::size_t reported = 0;  ///< said so
  std::size_t killed = 0;
  std::vector<std::string> wrong{};  ///< one line each: which call, which fault, what happened

  void print(const char* what) const;
};

[[nodiscard]] CallTally fail_each_call(const NamedCase& one);

}  // namespace troupe::test
