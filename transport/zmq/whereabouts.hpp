// SPDX-License-Identifier: MIT
#pragma once
// Internal. Whether a peer's process can be watched from here.

#include <cstdint>
#include <troupe/transport/liveness.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::zmq::detail {

/// A process as it names itself to processes anywhere. Plain data: it travels in a hello.
struct Whereabouts {
  std::uint64_t machine =
      0;  ///< hash of the boot id and the pid namespace, in which alone a mark has a meaning
  ProcessMark process{};

  friend bool operator==(const Whereabouts&, const Whereabouts&) = default;
};

/// Looks them up: `exhausted` without room for a descriptor.
[[nodiscard]] Result<Whereabouts> find_whereabouts();

// As they were when the process's post was made, for those that have one: later there may be no room to look.
void keep_whereabouts(const Whereabouts& own);
[[nodiscard]] const Whereabouts& own_whereabouts() noexcept;
[[nodiscard]] inline std::uint64_t this_machine() noexcept { return own_whereabouts().machine; }

}  // namespace troupe::zmq::detail
