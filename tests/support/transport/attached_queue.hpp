// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>

#include <troupe/transport/queue.hpp>
#include <vector>

namespace troupe::test {

/// The queue of these descriptors, for a forked child: copies of its own, so that they can be given to the
/// next one.
template <class T>
Queue<T> attached(const std::vector<OwnedFd>& descriptors) {
  std::vector<OwnedFd> copies;
  for (const OwnedFd& fd : descriptors) copies.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  return Queue<T>::attach(std::move(copies)).value();
}

}  // namespace troupe::test
