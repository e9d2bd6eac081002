// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/transport/spin.hpp>

namespace troupe::bench {

/// A process that finds itself on one core never spins. These are to behave like ones that have two: they
/// count their cores here, before they or their children are put on one.
inline void count_cores() {
  [[maybe_unused]] const bool counted = detail::Spin{}.until([] { return true; });
}

}  // namespace troupe::bench
