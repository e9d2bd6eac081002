// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe {

/// A process, told apart from a later one that got the same number. Written into shared memory, so it is
/// plain data; it means something to processes of one pid namespace.
struct ProcessMark {
  std::int32_t pid = 0;       ///< 0: nobody
  std::uint64_t started = 0;  ///< clock ticks from boot to its start

  friend bool operator==(const ProcessMark&, const ProcessMark&) = default;
};

/// Of the calling process; right in a plain fork's child as well. `exhausted` without room for a descriptor.
[[nodiscard]] Result<ProcessMark> own_mark();

/// Of the process that has this number now.
[[nodiscard]] Result<ProcessMark> mark_of(std::int32_t pid);

/// A descriptor that is readable once that process has ended. `down` if it has ended already (another process
/// may have its number by now, and is told apart after opening). `exhausted` without room for two
/// descriptors, and `system` where the process lives and /proc does not show it: neither says anything about
/// its end. `started_mask`: the bits of `mark.started` that are known.
[[nodiscard]] Result<OwnedFd> watch_process(const ProcessMark& mark,
                                            std::uint64_t started_mask = ~std::uint64_t{0});

}  // namespace troupe
