// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe {

/// Where descriptors wait for whoever decodes the value that they belong to: bytes in shared memory cannot
/// carry them.
///
/// `encode` puts each descriptor of a value and writes the name it gets; `decode` gets it by that name. What
/// a store is decides the way of travelling: a list beside a frame of a socket channel (DescriptorList), or
/// the keeper, for lanes, queues and the arguments of a start. Without a store a value that holds descriptors
/// is `refused`.
class DescriptorStore {
 public:
  DescriptorStore() = default;
  DescriptorStore(const DescriptorStore&) = delete;
  DescriptorStore& operator=(const DescriptorStore&) = delete;
  virtual ~DescriptorStore() = default;

  /// Keeps a copy of `fd`; the caller's stays its own. `exhausted` when the store is full.
  [[nodiscard]] virtual Result<std::uint64_t> put(int fd) = 0;
  /// A copy of what was put under that name, close-on-exec. `malformed` for a name that the store does not
  /// know.
  [[nodiscard]] virtual Result<OwnedFd> get(std::uint64_t name) = 0;
  /// Nobody will ask for it any more. Unknown names are ignored.
  virtual void drop(std::uint64_t name) noexcept = 0;
};

}  // namespace troupe
