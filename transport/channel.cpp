// SPDX-License-Identifier: MIT
#include <troupe/transport/channel.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <troupe/transport/channel_layout.hpp>
#include <troupe/transport/lane_channel.hpp>
#include <troupe/transport/packet_channel.hpp>
#include <troupe/transport/stream_channel.hpp>

namespace troupe {
namespace detail {

// Defined where troupe::zmq is linked.
[[gnu::weak]] Result<std::unique_ptr<Channel>> zeromq_channel_from(ChannelParts parts);

}  // namespace detail

namespace {

Result<void> check_bound(std::size_t frame_bytes_max) {
  if (frame_bytes_max <= channel::frame_bytes_limit) return {};
  return failure(ErrorKind::invalid, "channel: frame_bytes_max is at most " +
                                         std::to_string(channel::frame_bytes_limit) +
                                         "; try a Blob for what is larger");
}

}  // namespace

Result<ChannelParts> Channel::take_parts() {
  return failure(ErrorKind::refused, "channel: this kind stays in the process that made it");
}

Result<ChannelPair> create_channel(const ChannelOptions& options) {
  if (auto sound = check_bound(options.frame_bytes_max); !sound) return failure(std::move(sound));
  switch (options.carrier) {
    case Carrier::shared_memory: return LaneChannel::create_pair(options);
    case Carrier::pipe:
    case Carrier::stream: return StreamChannel::create_pair(options);
    case Carrier::packet: return PacketChannel::create_pair(options);
    case Carrier::zeromq:
      return failure(
          ErrorKind::refused,
          "channel: not made here; try zmq::AtLeastOnceChannel::create_pair, and a Pipe over its ends");
  }
  return failure(ErrorKind::invalid, "channel: no such carrier");
}

Result<std::unique_ptr<Channel>> channel_from(ChannelParts parts) {
  // ZeroMQ's frames have a bound of their own.
  if (auto sound = check_bound(parts.frame_bytes_max); !sound && parts.carrier != Carrier::zeromq)
    return failure(std::move(sound));
  const auto is_none = [](const OwnedFd& fd) { return !fd; };
  if (std::ranges::any_of(parts.descriptors, is_none))
    return failure(ErrorKind::invalid, "channel: one of its parts is missing");
  switch (parts.carrier) {
    case Carrier::shared_memory: return LaneChannel::from(std::move(parts));
    case Carrier::pipe:
    case Carrier::stream: return StreamChannel::from(std::move(parts));
    case Carrier::packet: return PacketChannel::from(std::move(parts));
    case Carrier::zeromq:
      if (detail::zeromq_channel_from != nullptr) return detail::zeromq_channel_from(std::move(parts));
      return failure(ErrorKind::refused, "channel: an end over ZeroMQ; try linking troupe::zmq here");
  }
  return failure(ErrorKind::invalid, "channel: no such carrier");
}

}  // namespace troupe
