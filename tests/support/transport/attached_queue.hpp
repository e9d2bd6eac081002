// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>
#include <vector>

namespace troupe::test {

/// The queue of these descriptors, for a forked child: copies of its own, so that they can be given to the
/// next one.
template <class T>
Queue<T> attached(const std::vector<OwnedFd>& descriptors) {
  std::vector<OwnedFd> copies;
  for (const OwnedFd& fd : descriptors)
    copies.push_back(detail::copied(fd.get(), "copy of a descriptor").value());
  return Queue<T>::attach(std::move(copies)).value();
}

}  // namespace troupe::test
