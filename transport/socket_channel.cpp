// SPDX-License-Identifier: MIT
#include <troupe/transport/socket_channel.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

using ControlSpace = std::array<std::byte, CMSG_SPACE(SocketChannel::descriptors_max * sizeof(int))>;

/// Waits until the socket may be written. False at the deadline.
bool wait_writable(int fd, TimePoint deadline) noexcept {
  pollfd one{fd, POLLOUT, 0};
  for (;;) {
    const int ready = ::poll(&one, 1, detail::poll_timeout(deadline));
    if (ready > 0) return true;
    if (ready == 0 && Clock::now() >= deadline) return false;
    if (ready < 0 && errno != EINTR) return Clock::now() < deadline;  // as detail::wait_readable()
  }
}

void attach(msghdr& message, ControlSpace& space, std::span<const int> descriptors) noexcept {
  message.msg_control = space.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
}

std::vector<OwnedFd> detach(msghdr& message) {
  std::vector<OwnedFd> result;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      result.push_back(detail::beyond_standard(OwnedFd{fd}));
    }
  }
  return result;
}

bool is_gone(int error) noexcept { return error == EPIPE || error == ECONNRESET || error == ENOTCONN; }

}  // namespace

Result<std::pair<SocketChannel, SocketChannel>> SocketChannel::create_pair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == -1)
    return detail::system_failure("socketpair");
  return std::pair{SocketChannel{detail::beyond_standard(OwnedFd{ends[0]})},
                   SocketChannel{detail::beyond_standard(OwnedFd{ends[1]})}};
}

Result<void> SocketChannel::send(std::span<const std::byte> bytes, std::span<const int> descriptors,
                                 TimePoint deadline) const {
  if (bytes.size() > packet_bytes_max || descriptors.size() > descriptors_max)
    return failure(ErrorKind::invalid, "packet: at most " + std::to_string(packet_bytes_max) + " bytes and " +
                                           std::to_string(descriptors_max) + " descriptors");
  if (bytes.empty() && descriptors.empty())
    return failure(ErrorKind::invalid, "packet: nothing in it, which reads as the end");
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) ControlSpace space{};
  if (!descriptors.empty()) attach(message, space, descriptors);
  for (;;) {
    if (detail::retried([&] { return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); }) >= 0)
      return {};
    if (is_gone(errno)) return failure(ErrorKind::closed, "packet: the other end is gone");
    if (errno != EAGAIN) return detail::system_failure("sendmsg");
    if (!wait_writable(fd_.get(), deadline))
      return failure(ErrorKind::timed_out, "packet: the other end does not read");
  }
}

Result<SocketChannel::Packet> SocketChannel::receive(std::span<std::byte> buffer, TimePoint deadline) const {
  for (;;) {
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) ControlSpace space{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space.data();
    message.msg_controllen = space.size();
    const auto bytes =
        detail::retried([&] { return ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
    const bool carried = message.msg_controllen != 0 || (message.msg_flags & MSG_CTRUNC) != 0;
    if (bytes > 0 || (bytes == 0 && carried)) {
      Packet packet{static_cast<std::size_t>(bytes), detach(message)};
      if ((message.msg_flags & MSG_CTRUNC) != 0)
        return failure(ErrorKind::exhausted,
                       "packet: descriptors were lost; raise the limit of open files (ulimit -n)");
      if ((message.msg_flags & MSG_TRUNC) != 0)
        return failure(ErrorKind::malformed, "packet: larger than its format allows");
      return packet;
    }
    if (bytes == 0) return failure(ErrorKind::closed, "packet: the other end is gone");
    // It died with packets of ours unread. That is said once, ahead of whatever it had sent before.
    if (errno == ECONNRESET) continue;
    if (is_gone(errno)) return failure(ErrorKind::closed, "packet: the other end is gone");
    if (errno != EAGAIN) return detail::system_failure("recvmsg");
    if (!detail::wait_readable(fd_.get(), deadline))
      return failure(ErrorKind::timed_out, "packet: none came in time");
  }
}

}  // namespace troupe
