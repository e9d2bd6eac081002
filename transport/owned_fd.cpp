// SPDX-License-Identifier: MIT
#include <troupe/transport/owned_fd.hpp>

#include <unistd.h>

namespace troupe {

void OwnedFd::reset(int fd) noexcept {
  if (const int old = std::exchange(fd_, fd); old != none) ::close(old);
}

}  // namespace troupe
