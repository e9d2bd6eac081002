// SPDX-License-Identifier: MIT
#pragma once
// Internal to the keeper. Processes that actors have started and left behind.

#include <set>
#include <string>
#include <vector>

namespace troupe::detail {

/// Children of this single-threaded process that are not in `known`: orphans that it, as their subreaper, was
/// given.
[[nodiscard]] std::vector<int> unknown_children(const std::set<int>& known);

/// What a look at a child of this process says of where it belongs.
enum class Belonging {
  no,
  yes,
  dying,    ///< it says no more, and its own children are not ours yet: wait until it is reaped
  unclear,  ///< it shows no environment: it is just about to execute something, or has cleared it
};
/// Whether it carries this TROUPE_ROLE assignment, set by the child that started it or by itself at birth.
[[nodiscard]] Belonging belonging(int pid, const std::string& assignment);

/// One letter of /proc: 'T' stopped, 't' traced, …; '?' if there is no such process.
[[nodiscard]] char process_state(int pid);
[[nodiscard]] bool is_traced(int pid);

}  // namespace troupe::detail
