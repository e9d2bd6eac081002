// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>
#include <vector>

namespace troupe::test {

inline std::vector<OwnedFd> copies_of(const std::vector<OwnedFd>& descriptors) {
  std::vector<OwnedFd> copies;
  for (const OwnedFd& fd : descriptors)
    copies.push_back(detail::copied(fd.get(), "copy of a descriptor").value());
  return copies;
}

/// The queue of these descriptors, for a forked child: copies of its own, so that they can be given to the
/// next one.
template <class T>
Queue<T> attached(const std::vector<OwnedFd>& descriptors) {
  return Queue<T>::attach(copies_of(descriptors)).value();
}

}  // namespace troupe::test
