// SPDX-License-Identifier: MIT
#include <troupe/transport/stream_channel.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/descriptor_passing.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

using detail::StreamKind;

using FdPair = std::pair<OwnedFd, OwnedFd>;

/// To read, to write. A frame that is larger than the pipe can only go while somebody reads; where the user's
/// quota of pipe memory is spent it stays at that.
Result<FdPair> create_pipe(std::size_t frame_bytes_max) {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == -1) return detail::system_failure("pipe2");
  const auto wanted = static_cast<int>(detail::stream_bytes(frame_bytes_max));
  if (::fcntl(ends[0], F_GETPIPE_SZ) < wanted) ::fcntl(ends[0], F_SETPIPE_SZ, wanted);
  return FdPair{detail::beyond_standard(OwnedFd{ends[0]}), detail::beyond_standard(OwnedFd{ends[1]})};
}

Result<FdPair> create_sockets() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == -1)
    return detail::system_failure("socketpair");
  return FdPair{detail::beyond_standard(OwnedFd{ends[0]}), detail::beyond_standard(OwnedFd{ends[1]})};
}

/// A pipe that blocks would know no deadline.
Result<void> stop_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags == -1 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
    return detail::system_failure("O_NONBLOCK");
  return {};
}

}  // namespace

StreamChannel::StreamChannel(StreamKind kind, std::size_t frame_bytes_max, OwnedFd life, OwnedFd in,
                             OwnedFd out)
    : kind_{kind},
      in_{std::move(in)},
      out_{std::move(out)},
      writer_{kind},
      reader_{kind, frame_bytes_max},
      end_{std::move(life), frame_bytes_max,
           kind == StreamKind::socket ? detail::passed_descriptors_max : std::size_t{0}} {}

Result<ChannelPair> StreamChannel::create_pair(const ChannelOptions& options) {
  const auto kind = options.carrier == Carrier::pipe ? StreamKind::pipe : StreamKind::socket;
  auto life = detail::ChannelEnd::create_life();
  if (!life) return failure(std::move(life));
  auto there = kind == StreamKind::pipe ? create_pipe(options.frame_bytes_max) : create_sockets();
  if (!there) return failure(std::move(there));
  Result<FdPair> back{FdPair{}};
  if (kind == StreamKind::pipe) back = create_pipe(options.frame_bytes_max);
  if (!back) return failure(std::move(back));
  // A socket's two ends read and write; of a pipe each end of the channel has one end of either.
  auto& near_in = kind == StreamKind::pipe ? back->first : there->first;
  auto& far_in = kind == StreamKind::pipe ? there->first : there->second;
  OwnedFd near_out = kind == StreamKind::pipe ? std::move(there->second) : OwnedFd{};
  return ChannelPair{
      std::unique_ptr<Channel>{new StreamChannel{kind, options.frame_bytes_max, std::move(life->first),
                                                 std::move(near_in), std::move(near_out)}},
      std::unique_ptr<Channel>{new StreamChannel{kind, options.frame_bytes_max, std::move(life->second),
                                                 std::move(far_in), std::move(back->second)}}};
}

Result<std::unique_ptr<Channel>> StreamChannel::from(ChannelParts parts) {
  const auto kind = parts.carrier == Carrier::pipe ? StreamKind::pipe : StreamKind::socket;
  auto& fds = parts.descriptors;
  if (fds.size() != (kind == StreamKind::pipe ? 3U : 2U))
    return failure(ErrorKind::invalid, "channel: not the parts of a stream's end");
  for (std::size_t i = 1; kind == StreamKind::pipe && i < fds.size(); ++i)
    if (auto set = stop_blocking(fds[i].get()); !set) return failure(std::move(set));
  OwnedFd out = kind == StreamKind::pipe ? std::move(fds[2]) : OwnedFd{};
  return std::unique_ptr<Channel>{
      new StreamChannel{kind, parts.frame_bytes_max, std::move(fds[0]), std::move(fds[1]), std::move(out)}};
}

Result<void> StreamChannel::send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                 TimePoint deadline) {
  if (auto sound = end_.check_send(frame.size(), descriptors.size()); !sound) return sound;
  auto sent = writer_.send(out(), frame, descriptors, deadline);
  // Who closes in order has said so before; who has not is dead, or as good as that.
  if (!sent && sent.error().kind == ErrorKind::down)
    return tl::unexpected{end_.sending_over().value_or(detail::ChannelEnd::down())};
  return sent;
}

Result<Channel::Frame> StreamChannel::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto sound = end_.check_receive(); !sound) return failure(std::move(sound));
  while (!reader_.ready(in_.get()))
    if (!detail::wait_readable(in_.get(), deadline))
      return failure(ErrorKind::timed_out, "channel: no frame came in time");
  auto frame = reader_.take(buffer);
  if (!frame && frame.error().kind == ErrorKind::down)
    return tl::unexpected{end_.receiving_over().value_or(detail::ChannelEnd::down())};
  return frame;
}

void StreamChannel::close() noexcept {
  if (!end_.end_sending()) return;
  if (kind_ == StreamKind::socket) ::shutdown(in_.get(), SHUT_WR);
  out_.reset();
}

Waitable StreamChannel::readable() {
  // A frame that has come only in part makes the descriptor readable, and one that has been read already does
  // not.
  return {in_.get(), [this] { return !end_.check_receive() || reader_.ready(in_.get()); }};
}

Result<ChannelParts> StreamChannel::take_parts() {
  auto life = end_.take_life();
  if (!life) return failure(std::move(life));
  ChannelParts parts{kind_ == StreamKind::pipe ? Carrier::pipe : Carrier::stream, end_.frame_bytes_max(), {}};
  parts.descriptors.push_back(std::move(*life));
  parts.descriptors.push_back(in_.release());
  if (out_) parts.descriptors.push_back(out_.release());
  return parts;
}

}  // namespace troupe
