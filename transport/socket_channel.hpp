// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/descriptor_passing.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>
#include <vector>

namespace troupe {

/// One end of a SEQPACKET socket pair: whole packets in order, with descriptors.
///
/// Contract: a packet arrives whole or not at all, whenever its sender dies. A dead
/// or closed peer is `closed` once everything it sent has been received. There is no
/// name, so nobody but the holders of the two ends can reach it. One thread at a time per direction.
class SocketChannel {
 public:
  static constexpr std::size_t packet_bytes_max =
      std::size_t{96} * 1024;  ///< fits Debian's default socket buffer
  static constexpr std::size_t descriptors_max = detail::passed_descriptors_max;

  struct Packet {
    std::size_t bytes = 0;               ///< how much of the caller's buffer was filled
    std::vector<OwnedFd> descriptors{};  ///< close-on-exec
  };

  SocketChannel() noexcept = default;
  explicit SocketChannel(OwnedFd fd) noexcept : fd_{std::move(fd)} {}
  [[nodiscard]] static Result<std::pair<SocketChannel, SocketChannel>> create_pair();

  /// `invalid` beyond the two bounds above and for a packet with nothing in it, `timed_out` when the peer's
  /// buffer stays full until the deadline, `closed` when the peer is gone.
  [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, std::span<const int> descriptors,
                                  TimePoint deadline) const {
    return send({}, bytes, descriptors, deadline);
  }
  /// The same for a packet in two pieces.
  [[nodiscard]] Result<void> send(std::span<const std::byte> head, std::span<const std::byte> bytes,
                                  std::span<const int> descriptors, TimePoint deadline) const;

  /// `timed_out`, `closed`; `exhausted` when descriptors were lost because this process has no room for
  /// them; `malformed` when the packet is larger than `buffer`. In the last two cases the packet is gone.
  [[nodiscard]] Result<Packet> receive(std::span<std::byte> buffer, TimePoint deadline) const;

  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] OwnedFd release() noexcept { return std::move(fd_); }

 private:
  OwnedFd fd_;
};

}  // namespace troupe
