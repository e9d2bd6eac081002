// SPDX-License-Identifier: MIT
#include <troupe/transport/packet_channel.hpp>

#include <sys/socket.h>

#include <cstring>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe {

PacketChannel::PacketChannel(OwnedFd life, SocketChannel socket, std::size_t frame_bytes_max)
    : socket_{std::move(socket)},
      hold_{socket_.descriptor()},
      end_{std::move(life), frame_bytes_max, SocketChannel::descriptors_max} {}

Result<ChannelPair> PacketChannel::create_pair(const ChannelOptions& options) {
  if (options.frame_bytes_max > frame_bytes_limit)
    return failure(ErrorKind::invalid, "channel: frame_bytes_max over packets is at most " +
                                           std::to_string(frame_bytes_limit) + "; try Carrier::stream");
  auto life = detail::ChannelEnd::create_life();
  if (!life) return failure(std::move(life));
  auto sockets = SocketChannel::create_pair();
  if (!sockets) return failure(std::move(sockets));
  return ChannelPair{std::unique_ptr<Channel>{new PacketChannel{
                         std::move(life->first), std::move(sockets->first), options.frame_bytes_max}},
                     std::unique_ptr<Channel>{new PacketChannel{
                         std::move(life->second), std::move(sockets->second), options.frame_bytes_max}}};
}

Result<std::unique_ptr<Channel>> PacketChannel::from(ChannelParts parts) {
  if (parts.descriptors.size() != 2 || parts.frame_bytes_max > frame_bytes_limit)
    return failure(ErrorKind::invalid, "channel: not the parts of a packet socket's end");
  return std::unique_ptr<Channel>{new PacketChannel{std::move(parts.descriptors[0]),
                                                    SocketChannel{std::move(parts.descriptors[1])},
                                                    parts.frame_bytes_max}};
}

Result<void> PacketChannel::send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                 TimePoint deadline) {
  if (auto sound = end_.check_send(frame.size(), descriptors.size()); !sound) return sound;
  const channel::PacketHeader header{static_cast<std::uint32_t>(frame.size()),
                                     static_cast<std::uint16_t>(descriptors.size()), channel::packet_magic};
  auto sent = socket_.send(std::as_bytes(std::span{&header, 1}), frame, descriptors, deadline);
  // Who closes in order has said so before; who has not is dead, or as good as that.
  if (!sent && sent.error().kind == ErrorKind::closed)
    return tl::unexpected{end_.sending_over().value_or(detail::ChannelEnd::down())};
  return sent;
}

Result<Channel::Frame> PacketChannel::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto sound = end_.check_receive(); !sound) return failure(std::move(sound));
  if (broken_) return tl::unexpected{*broken_};
  if (const auto room = sizeof(channel::PacketHeader) + end_.frame_bytes_max(); buffer.size() < room)
    buffer.resize(room);
  auto packet = socket_.receive(buffer, deadline);
  if (!packet && packet.error().kind == ErrorKind::closed)
    return tl::unexpected{end_.receiving_over().value_or(detail::ChannelEnd::down())};
  Result<Frame> frame = packet ? check(std::span{buffer}.first(packet->bytes), std::move(packet->descriptors))
                               : Result<Frame>{failure(std::move(packet))};
  if (!frame && frame.error().kind == ErrorKind::malformed) broken_ = frame.error();
  return frame;
}

Result<Channel::Frame> PacketChannel::check(std::span<const std::byte> packet,
                                            std::vector<OwnedFd> descriptors) {
  const auto broken = [](const char* rule) {
    return failure(ErrorKind::malformed, std::string{"channel: "} + rule);
  };
  channel::PacketHeader header{};
  if (packet.size() < sizeof header) return broken("a packet without a header");
  std::memcpy(&header, packet.data(), sizeof header);
  const auto frame = packet.subspan(sizeof header);
  if (header.magic != channel::packet_magic) return broken("a packet that is no frame");
  if (header.length != frame.size()) return broken("a frame of another length than it says");
  if (header.descriptors != descriptors.size()) return broken("a frame with other descriptors than it says");
  if (frame.size() > end_.frame_bytes_max()) return broken("a frame that is too long");
  return Frame{frame, std::move(descriptors)};
}

void PacketChannel::close() noexcept {
  if (end_.end_sending()) ::shutdown(socket_.descriptor(), SHUT_WR);
}

Result<ChannelParts> PacketChannel::take_parts() {
  auto life = end_.take_life();
  if (!life) return failure(std::move(life));
  hold_ = detail::HeldByThisProcess{};
  ChannelParts parts{Carrier::packet, end_.frame_bytes_max(), {}};
  parts.descriptors.push_back(std::move(*life));
  parts.descriptors.push_back(socket_.release());
  return parts;
}

}  // namespace troupe
