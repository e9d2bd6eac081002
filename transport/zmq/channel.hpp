// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <troupe/transport/channel.hpp>
#include <troupe/zmq/keys.hpp>
#include <troupe/zmq/stream.hpp>
#include <vector>

namespace troupe::zmq {

struct ChannelOptions {
  std::size_t frame_bytes_max = std::size_t{1} << 20U;
  std::size_t window_frames_max = 256;                   ///< sent and not yet received by the peer's program
  std::size_t window_bytes_max = std::size_t{4} << 20U;  ///< the same; one frame fits always
  Duration close_within = std::chrono::seconds{5};       ///< how long close() waits for the peer's word
  Security security{};
};

struct ChannelCounts {
  std::uint64_t duplicates = 0;  ///< frames that came again and were dropped
  std::uint64_t lost = 0;        ///< frames that the peer had sent and that did not come (at most once only)
  std::uint64_t malformed = 0;   ///< messages that break the format
  std::uint64_t strangers = 0;   ///< messages of those that are not the peer
};

namespace detail {
class Link;
}

/// A channel over ZeroMQ: `ipc://` and `tcp://`. What a send that returned ok promises is in the type: it is
/// queued in this process, and from there on see Delivery. docs/zmq.md has it whole.
///
/// One end listens, the other connects, in either order; the first that connects is the peer, for good. A
/// broken connection is made again, unnoticed. Each end knows the other's process by its hello: on the same
/// machine it sees it die by its pidfd and says `down`; a peer on another machine is waited for until the
/// deadline of each call. close() waits until the peer has all that was sent, at most `close_within`.
///
/// Both ends may be used by two threads, one for each direction. Not in the child of a plain fork
/// (`refused`).
template <Delivery delivery>
class ZmqChannel final : public Channel {
 public:
  /// `ipc://*` (in a folder of its own), `ipc:///folder/of/mode/0700/name`, `tcp://127.0.0.1:*` or with a
  /// port. `refused` where others could listen in, with what to do about it.
  [[nodiscard]] static Result<std::unique_ptr<ZmqChannel>> listen(const std::string& endpoint,
                                                                  const ChannelOptions& options = {});
  /// Waits for the other end's welcome. `timed_out`; `refused` by an end that has its peer already, makes
  /// another promise, or does not know this end's key.
  [[nodiscard]] static Result<std::unique_ptr<ZmqChannel>> connect(const std::string& endpoint,
                                                                   const ChannelOptions& options,
                                                                   TimePoint deadline);
  /// Both ends, known to each other alone. The first listens, as by listen(), and stays in this process. The
  /// second moves to another process of this machine before its first use, by take_parts or in a Pipe, and
  /// connects with that use; where keys are used it has one of its own.
  [[nodiscard]] static Result<ChannelPair> create_pair(const ChannelOptions& options = {},
                                                       const std::string& endpoint = "ipc://*");
  ~ZmqChannel() override;

  /// What the other end connects to.
  [[nodiscard]] const std::string& endpoint() const noexcept;
  [[nodiscard]] ChannelCounts counts() const;

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept override;
  [[nodiscard]] std::size_t descriptors_max() const noexcept override { return 0; }
  [[nodiscard]] Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                  TimePoint deadline) override;
  [[nodiscard]] Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) override;
  void close() noexcept override;
  [[nodiscard]] Waitable readable() override;
  /// `refused`, and so is a Pipe over it as an argument or in a message: an end has been greeted, as its
  /// process, by the time there is one. What travels is the endpoint, or the far end of create_pair().
  [[nodiscard]] Result<ChannelParts> take_parts() override;

 private:
  explicit ZmqChannel(std::unique_ptr<detail::Link> link);
  std::unique_ptr<detail::Link> link_;
};

extern template class ZmqChannel<Delivery::at_most_once>;
extern template class ZmqChannel<Delivery::at_least_once>;
using AtMostOnceChannel = ZmqChannel<Delivery::at_most_once>;
using AtLeastOnceChannel = ZmqChannel<Delivery::at_least_once>;

}  // namespace troupe::zmq
