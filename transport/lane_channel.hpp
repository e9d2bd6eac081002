// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_end.hpp>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/spin.hpp>

namespace troupe {
namespace detail {

/// One direction at its sender: unused until its first send, which maps its file and seals it. The peer does
/// the same in its own time; until its file is sealed it is not believed, frames wait in the lane, and every
/// send rings.
///
/// Owner: the sending thread. References outlive it.
class LaneSending {
 public:
  LaneSending(OwnedFd file, OwnedFd reader_file) noexcept
      : file_{std::move(file)}, reader_file_{std::move(reader_file)} {}

  struct Bells {
    int own;
    int peer;
  };
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, TimePoint deadline, ChannelEnd& end,
                                  const Bells& bells);
  void give_parts(std::vector<OwnedFd>& parts);

 private:
  [[nodiscard]] Result<void> prepare(const ChannelEnd& end, const Bells& bells);
  [[nodiscard]] Result<void> attach(const Bells& bells);
  [[nodiscard]] bool has_room(std::size_t bytes);
  [[nodiscard]] Result<bool> place(std::span<const std::byte> frame, const Bells& bells);
  void wait_for_room(std::size_t bytes, TimePoint deadline);

  OwnedFd file_;         // own P-file, until it is mapped
  OwnedFd reader_file_;  // the peer's C-file, until it is mapped
  std::optional<BellWaiter> waiter_{};
  std::optional<LaneWriter> writer_{};
  Spin spin_;
  TimePoint look_at_{};  // at the peer's life
};

/// One direction at its receiver, likewise. Owner: the receiving thread.
class LaneReceiving {
 public:
  LaneReceiving(OwnedFd file, OwnedFd writer_file, std::size_t frame_bytes_max) noexcept
      : file_{std::move(file)}, writer_file_{std::move(writer_file)}, frame_bytes_max_{frame_bytes_max} {}

  using Bells = LaneSending::Bells;
  [[nodiscard]] Result<Channel::Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline,
                                               ChannelEnd& end, const Bells& bells);
  /// Where the bell is heard; maps what is to be mapped.
  [[nodiscard]] Result<int> descriptor(const ChannelEnd& end, const Bells& bells);
  /// Announces a sleep; true if receive() would not wait.
  [[nodiscard]] bool arm(ChannelEnd& end, const Bells& bells);
  void give_parts(std::vector<OwnedFd>& parts);

 private:
  [[nodiscard]] Result<void> prepare(const ChannelEnd& end, const Bells& bells);
  [[nodiscard]] bool pending(const Bells& bells);
  [[nodiscard]] Result<Channel::Frame> take(std::vector<std::byte>& buffer);
  void announce();
  void end_announcement();

  OwnedFd file_;         // own C-file, until it is mapped
  OwnedFd writer_file_;  // the peer's P-file, until it is mapped
  std::size_t frame_bytes_max_;
  std::optional<BellWaiter> waiter_{};
  std::optional<ReaderFile> words_{};
  std::optional<LaneReader> reader_{};
  std::optional<Error> broken_{};
  bool announced_ = false;
  Spin spin_;
};

}  // namespace detail

/// A channel over shared memory: a lane each way (docs/lane.md), and no system call while both ends are
/// awake.
///
/// `send` returning ok: the frame is in memory that outlives its sender. A frame is gone from it once it has
/// been received: an end belongs to one process, and nobody comes after it. Parts: life socket, then own
/// P-file, C-file and bell, then the peer's.
class LaneChannel final : public Channel {
 public:
  [[nodiscard]] static Result<ChannelPair> create_pair(const ChannelOptions& options);
  [[nodiscard]] static Result<std::unique_ptr<Channel>> from(ChannelParts parts);

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept override { return end_.frame_bytes_max(); }
  [[nodiscard]] std::size_t descriptors_max() const noexcept override { return 0; }
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline) override;
  [[nodiscard]] Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) override;
  void close() noexcept override { static_cast<void>(end_.end_sending()); }
  [[nodiscard]] Waitable readable() override;
  [[nodiscard]] Result<ChannelParts> take_parts() override;

 private:
  explicit LaneChannel(ChannelParts parts);
  [[nodiscard]] detail::LaneSending::Bells bells() const noexcept {
    return {own_bell_.get(), peer_bell_.get()};
  }

  OwnedFd own_bell_;
  OwnedFd peer_bell_;
  detail::LaneSending sending_;
  detail::LaneReceiving receiving_;
  detail::ChannelEnd end_;
};

}  // namespace troupe
