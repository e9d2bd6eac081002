// SPDX-License-Identifier: MIT
#pragma once
// Internal. The ends of a channel that is made as a pair.

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_end.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/link.hpp>
#include <vector>

namespace troupe::zmq::detail {

/// How the far end gets in: in a sealed file that travels with it. It holds a secret key, and is worth what
/// that is worth.
struct Invitation {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t delivery = 0;
  std::uint64_t session = 0;
  std::uint64_t frame_bytes_max = 0;
  std::uint64_t window_frames_max = 0;
  std::uint64_t window_bytes_max = 0;
  std::string endpoint{};
  std::string public_key{};
  std::string secret_key{};
  std::string server_key{};
};

/// The near end listens from the start, and stays. The far one is an invitation until its first use; then it
/// connects, in whatever process that is. A life socket between the two says whose end was dropped, or has
/// died, before they have greeted each other.
class PairEnd final : public Channel {
 public:
  [[nodiscard]] static Result<ChannelPair> create(const std::string& endpoint, const ChannelOptions& options,
                                                  Delivery delivery);
  /// A far end. Nothing in the parts is believed.
  [[nodiscard]] static Result<std::unique_ptr<Channel>> from(ChannelParts parts);
  ~PairEnd() override;

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept override { return end_.frame_bytes_max(); }
  [[nodiscard]] std::size_t descriptors_max() const noexcept override { return 0; }
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline) override;
  [[nodiscard]] Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) override;
  void close() noexcept override;
  [[nodiscard]] Waitable readable() override;
  [[nodiscard]] Result<ChannelParts> take_parts() override;

 private:
  PairEnd(Invitation invitation, OwnedFd letter, OwnedFd life);
  [[nodiscard]] Result<Link*> link();
  [[nodiscard]] Line line() const noexcept { return {invitation_.session, end_.life()}; }

  Invitation invitation_;
  OwnedFd letter_;                  ///< that it came in; none at the near end
  troupe::detail::ChannelEnd end_;  // says that it is gone once the link is
  std::mutex joining_{};
  std::unique_ptr<Link> link_{};
};

}  // namespace troupe::zmq::detail
