// SPDX-License-Identifier: MIT
#include <troupe/transport/descriptor_passing.hpp>

#include <cstring>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {

void attach_descriptors(msghdr& message, PassingSpace& space, std::span<const int> descriptors) noexcept {
  if (descriptors.empty()) return;
  message.msg_control = space.bytes.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
}

void expect_descriptors(msghdr& message, PassingSpace& space) noexcept {
  message.msg_control = space.bytes.data();
  message.msg_controllen = space.bytes.size();
}

std::vector<OwnedFd> detach_descriptors(msghdr& message) {
  std::vector<OwnedFd> result;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      result.push_back(beyond_standard(OwnedFd{fd}));
    }
  }
  return result;
}

}  // namespace troupe::detail
