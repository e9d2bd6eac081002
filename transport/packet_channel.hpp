// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_end.hpp>
#include <troupe/transport/socket_channel.hpp>

namespace troupe {

/// A channel over a SEQPACKET socket: a frame is one packet, so there is nothing to be torn. Carries
/// descriptors.
///
/// `send` returning ok: the frame is in the kernel, and outlives its sender. Parts: life socket, socket.
class PacketChannel final : public Channel {
 public:
  static constexpr std::size_t frame_bytes_limit =
      SocketChannel::packet_bytes_max - sizeof(channel::PacketHeader);

  /// `invalid` for frames above `frame_bytes_limit`.
  [[nodiscard]] static Result<ChannelPair> create_pair(const ChannelOptions& options);
  [[nodiscard]] static Result<std::unique_ptr<Channel>> from(ChannelParts parts);

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept override { return end_.frame_bytes_max(); }
  [[nodiscard]] std::size_t descriptors_max() const noexcept override { return end_.descriptors_max(); }
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline) override;
  [[nodiscard]] Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) override;
  void close() noexcept override;
  [[nodiscard]] Waitable readable() override { return {socket_.descriptor(), {}}; }
  [[nodiscard]] Result<ChannelParts> take_parts() override;

 private:
  PacketChannel(OwnedFd life, SocketChannel socket, std::size_t frame_bytes_max);
  [[nodiscard]] Result<Frame> check(std::span<const std::byte> packet, std::vector<OwnedFd> descriptors);

  SocketChannel socket_;
  detail::HeldByThisProcess hold_;
  std::optional<Error> broken_{};
  detail::ChannelEnd end_;
};

}  // namespace troupe
