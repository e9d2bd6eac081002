// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/select.hpp>
#include <utility>
#include <vector>

namespace troupe {

/// What an end is made of. Its constants and formats: transport/channel_layout.hpp, docs/channels.md.
enum class Carrier : std::uint8_t {
  shared_memory,  ///< a lane each way: the fastest, no system call while both are awake
  pipe,           ///< an OS pipe each way
  stream,         ///< a Unix stream socket; carries descriptors
  packet,         ///< a Unix SEQPACKET socket; carries descriptors; frames below 96 KiB
  zeromq,         ///< made by troupe::zmq (zmq::AtLeastOnceChannel::create_pair), not by create_channel
};

struct ChannelOptions {
  Carrier carrier = Carrier::shared_memory;
  std::size_t frame_bytes_max = std::size_t{64} * 1024;  ///< at most 1 MiB less 32
};

/// An end on its way to the process that will use it: what it is made of, and nobody's yet.
struct ChannelParts {
  Carrier carrier = Carrier::shared_memory;
  std::size_t frame_bytes_max = 0;
  std::vector<OwnedFd> descriptors{};
};

/// One end of a way between two processes, by which frames go in both directions.
///
/// The contract, which every channel runs in tests/support/transport/channel_cases/ (docs/channels.md has the
/// table). Over ZeroMQ two bullets hold in part, Death and Moving (one end does): docs/zmq.md.
/// - **Whole frames.** A frame arrives as it was sent or not at all, whenever its sender dies. Its length is
///   from 0 to `frame_bytes_max()`; a longer one is `invalid` at its sender, and `malformed` at a receiver to
///   whom one is announced, before anything is allocated for it.
/// - **Order.** The frames of one direction arrive in the order of their sends, none twice.
/// - **Full.** `send` waits for room until its deadline, then says `timed_out`, and the frame will not
///   arrive; it may be sent again. A deadline that has passed already means: now or not at all.
/// - **Deadlines.** No call ends with `timed_out` before its deadline; signals neither shorten nor lengthen a
///   wait. Waiting takes no processor time.
/// - **Orderly end.** `close()` ends one direction: the peer receives all that was sent, then `closed`, and
///   may go on sending. Destroying an end closes both directions; the peer's `send` then says `closed`.
/// - **Death.** When the process at the peer's end dies without closing, what it had sent still arrives, then
///   `receive` says `down`; `send` says `down` at once (a lane looks for the death every 20 µs). A direction
///   that was closed before is `closed`.
/// - **Descriptors** go with a frame, up to `descriptors_max()` of them; they arrive with it, close-on-exec,
///   or the receive is `exhausted` and the frame is gone. A channel that carries none says `refused`.
/// - **Resources.** The number of descriptors that an end holds does not grow with what passes through it.
///   Descriptors 0 to 2 are never taken, also where the program has closed them.
/// - **Ownership.** One process owns an end, and one thread at a time uses it in each direction; close()
///   belongs to the sending one. The copy of an end in a plain fork's child is `refused`, and does not keep
///   the original's peer from seeing its death.
/// - **Moving.** An end that was never used can be taken to another process as parts; parts that are dropped
///   are a death to the peer.
/// - **Hostile bytes.** Nothing that comes from the peer is believed before it is checked: what breaks the
///   channel's format is `malformed`, and the end is of no further use.
class Channel {
 public:
  /// A frame as its receiver sees it.
  struct Frame {
    std::span<const std::byte> bytes{};  ///< in the buffer that was given to receive()
    std::vector<OwnedFd> descriptors{};
  };

  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  [[nodiscard]] virtual std::size_t frame_bytes_max() const noexcept = 0;
  [[nodiscard]] virtual std::size_t descriptors_max() const noexcept = 0;

  [[nodiscard]] virtual Result<void> send(std::span<const std::byte> frame, std::span<const int> descriptors,
                                          TimePoint deadline) = 0;
  /// The next frame, in `buffer`, which grows as needed.
  [[nodiscard]] virtual Result<Frame> receive(std::vector<std::byte>& buffer, TimePoint deadline) = 0;
  /// Nothing more will be sent from this end.
  virtual void close() noexcept = 0;
  /// For select and for foreign event loops: ready when receive() would not wait.
  [[nodiscard]] virtual Waitable readable() = 0;
  /// Takes the end apart, for another process; this one is then `refused`. So is an end that has been used,
  /// and a channel that cannot move.
  [[nodiscard]] virtual Result<ChannelParts> take_parts();
};

using ChannelPair = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;

/// Both ends of a new channel; hand one of them, or its parts, to another process.
[[nodiscard]] Result<ChannelPair> create_channel(const ChannelOptions& options = {});
/// The end that these are the parts of. `invalid` if they cannot be, `refused` for ZeroMQ's without
/// troupe::zmq.
[[nodiscard]] Result<std::unique_ptr<Channel>> channel_from(ChannelParts parts);

}  // namespace troupe
