// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "transport/fault_case.hpp"

// A limit of the process is lowered step by step, from generous to nothing. At each step a forked child does
// a case once as it is, once under the limit and once more without: the second must be right or say
// `exhausted`, the third right; no signal kills the child, and nothing may be left after either.
namespace troupe::test {

enum class Limit {
  descriptors,    ///< RLIMIT_NOFILE, down to the standard three
  file_size,      ///< RLIMIT_FSIZE, down to 0
  address_space,  ///< RLIMIT_AS, from some pages more than are mapped down to fewer
};

struct LimitTally {
  std::size_t steps = 0;
  std::size_t fine = 0;
  std::size_t reported = 0;
  std::size_t without_heap = 0;      ///< of those reported: std::bad_alloc, as the heap says it
  std::vector<std::string> wrong{};  ///< one line each

  void print(const char* what, const char* limit) const;
};

[[nodiscard]] LimitTally sweep(const NamedCase& one, Limit limit);
[[nodiscard]] const char* to_string(Limit limit) noexcept;

/// Fails the test that calls it for whatever is wrong in a sweep, and for one that begins too low.
void expect_sound(const NamedCase& one, Limit limit);

}  // namespace troupe::test
