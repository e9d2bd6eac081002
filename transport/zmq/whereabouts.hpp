// SPDX-License-Identifier: MIT
#pragma once
// Internal. Whether a peer's process can be watched from here.

#include <cstdint>
#include <troupe/transport/liveness.hpp>

namespace troupe::zmq::detail {

/// A process as it names itself to processes anywhere. Plain data: it travels in a hello.
struct Whereabouts {
  std::uint64_t machine =
      0;  ///< hash of the boot id and the pid namespace, in which alone a mark has a meaning
  ProcessMark process{};

  friend bool operator==(const Whereabouts&, const Whereabouts&) = default;
};

[[nodiscard]] std::uint64_t this_machine();
/// Without room for a descriptor, those of a process that nobody can watch.
[[nodiscard]] inline Whereabouts own_whereabouts() {
  return {this_machine(), own_mark().value_or(ProcessMark{})};
}

}  // namespace troupe::zmq::detail
