// SPDX-License-Identifier: MIT
#include <troupe/transport/socket_channel.hpp>

#include <sys/socket.h>

#include <array>
#include <troupe/transport/descriptor_passing.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {

Result<std::pair<SocketChannel, SocketChannel>> SocketChannel::create_pair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == -1)
    return detail::system_failure("socketpair");
  return std::pair{SocketChannel{detail::beyond_standard(OwnedFd{ends[0]})},
                   SocketChannel{detail::beyond_standard(OwnedFd{ends[1]})}};
}

Result<void> SocketChannel::send(std::span<const std::byte> head, std::span<const std::byte> bytes,
                                 std::span<const int> descriptors, TimePoint deadline) const {
  if (head.size() + bytes.size() > packet_bytes_max || descriptors.size() > descriptors_max)
    return failure(ErrorKind::invalid, "packet: at most " + std::to_string(packet_bytes_max) + " bytes and " +
                                           std::to_string(descriptors_max) + " descriptors");
  if (head.empty() && bytes.empty() && descriptors.empty())
    return failure(ErrorKind::invalid, "packet: nothing in it, which reads as the end");
  std::array parts{iovec{const_cast<std::byte*>(head.data()), head.size()},
                   iovec{const_cast<std::byte*>(bytes.data()), bytes.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  detail::PassingSpace space;
  detail::attach_descriptors(message, space, descriptors);
  for (;;) {
    if (detail::retried([&] { return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); }) >= 0)
      return {};
    if (detail::is_gone(errno)) return failure(ErrorKind::closed, "packet: the other end is gone");
    if (errno != EAGAIN) return detail::system_failure("sendmsg");
    if (!detail::wait_writable(fd_.get(), deadline))
      return failure(ErrorKind::timed_out, "packet: the other end does not read");
  }
}

Result<SocketChannel::Packet> SocketChannel::receive(std::span<std::byte> buffer, TimePoint deadline) const {
  for (;;) {
    iovec part{buffer.data(), buffer.size()};
    detail::PassingSpace space;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    detail::expect_descriptors(message, space);
    const auto bytes =
        detail::retried([&] { return ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
    const bool carried = message.msg_controllen != 0 || (message.msg_flags & MSG_CTRUNC) != 0;
    if (bytes > 0 || (bytes == 0 && carried)) {
      Packet packet{static_cast<std::size_t>(bytes), detail::detach_descriptors(message)};
      if ((message.msg_flags & MSG_CTRUNC) != 0 && !TROUPE_MUTANT(lost_descriptors_ignored))
        return failure(ErrorKind::exhausted,
                       "packet: descriptors were lost; raise the limit of open files (ulimit -n)");
      if ((message.msg_flags & MSG_TRUNC) != 0)
        return failure(ErrorKind::malformed, "packet: larger than its format allows");
      return packet;
    }
    if (bytes == 0) return failure(ErrorKind::closed, "packet: the other end is gone");
    // It died with packets of ours unread. That is said once, ahead of whatever it had sent before.
    if (errno == ECONNRESET) continue;
    if (detail::is_gone(errno)) return failure(ErrorKind::closed, "packet: the other end is gone");
    if (errno != EAGAIN) return detail::system_failure("recvmsg");
    if (!detail::wait_readable(fd_.get(), deadline))
      return failure(ErrorKind::timed_out, "packet: none came in time");
  }
}

}  // namespace troupe
