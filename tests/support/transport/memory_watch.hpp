// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>

namespace troupe::test {

/// Tells when a memory file is freed: when no process has it open or mapped any more, none is being sent it,
/// and none that died still counts. Holds the file itself by nothing that counts.
class MemoryWatch {
 public:
  explicit MemoryWatch(int file);
  /// False at the deadline.
  [[nodiscard]] bool freed(TimePoint deadline) const;

 private:
  OwnedFd events_;
};

}  // namespace troupe::test
