// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_end.hpp>
#include <troupe/transport/frame_stream.hpp>

namespace troupe {

/// A channel over streams of bytes: an OS pipe each way (Carrier::pipe), or one Unix stream socket
/// (Carrier::stream), which carries descriptors as well.
///
/// `send` returning ok: the frame is in the kernel, and outlives its sender. Parts: life socket, then the
/// socket, or the pipe to read and the pipe to write.
class StreamChannel final : public Channel {
 public:
  [[nodiscard]] static Result<ChannelPair> create_pair(const ChannelOptions& options);
  [[nodiscard]] static Result<std::unique_ptr<Channel>> from(ChannelParts parts);

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept override { return end_.frame_bytes_max(); }
  [[nodiscard]] std::size_t descriptors_max() const noexcept override { return end_.descriptors_max(); }
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline) override;
  [[nodiscard]] Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) override;
  void close() noexcept override;
  [[nodiscard]] Waitable readable() override;
  [[nodiscard]] Result<ChannelParts> take_parts() override;

 private:
  StreamChannel(detail::StreamKind kind, std::size_t frame_bytes_max, OwnedFd life, OwnedFd in, OwnedFd out);
  [[nodiscard]] int out() const noexcept {
    return kind_ == detail::StreamKind::socket ? in_.get() : out_.get();
  }

  detail::StreamKind kind_;
  detail::HeldFd in_;  // a socket is both
  detail::HeldFd out_;
  detail::FrameWriter writer_;
  detail::FrameReader reader_;
  detail::ChannelEnd end_;
};

}  // namespace troupe
