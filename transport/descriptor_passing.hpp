// SPDX-License-Identifier: MIT
#pragma once
// Internal. Descriptors beside the bytes of a Unix socket.

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>
#include <troupe/transport/owned_fd.hpp>
#include <vector>

namespace troupe::detail {

/// Few enough that a receiver can tell whether it has room for them.
inline constexpr std::size_t passed_descriptors_max = 64;

struct alignas(cmsghdr) PassingSpace {
  std::array<std::byte, CMSG_SPACE(passed_descriptors_max * sizeof(int))> bytes{};
};

/// To be sent with `message`, which borrows `space`. Nothing for none.
void attach_descriptors(msghdr& message, PassingSpace& space, std::span<const int> descriptors) noexcept;

/// Room for those that come with `message`.
void expect_descriptors(msghdr& message, PassingSpace& space) noexcept;
/// Those that came, beyond the standard numbers. MSG_CTRUNC in its flags says that others were lost.
[[nodiscard]] std::vector<OwnedFd> detach_descriptors(msghdr& message);

}  // namespace troupe::detail
