// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/select.hpp>
#include <vector>

namespace troupe {

/// One end of a way between two processes, by which frames go in both directions.
///
/// The contract, which every channel passes in tests/transport/channel_conformance_test.cpp:
/// - **Whole frames.** A frame arrives as it was sent or not at all, whenever its sender dies. Its length is
/// from 0
///   to `frame_bytes_max()`; a longer one is `invalid` at its sender, and `malformed` at a receiver to whom
///   one is announced, before anything is allocated for it.
/// - **Order.** The frames of one direction arrive in the order of their sends, none twice.
/// - **Full.** `send` waits for room until its deadline, then says `timed_out`, and has sent nothing. A
/// deadline
///   that has passed already means: now or not at all.
/// - **Deadlines.** No call ends with `timed_out` before its deadline; signals neither shorten nor lengthen a
/// wait.
///   Waiting takes no processor time.
/// - **Orderly end.** `close()` ends one direction: the peer receives all that was sent, then `closed`, and
/// may go on
///   sending. Destroying an end closes both directions.
/// - **Death.** When the process at the peer's end dies without closing, what it had sent still arrives, then
///   `receive` says `down`; `send` says `down` at once. After `close` of the peer's receiving side it says
///   `closed`.
/// - **Descriptors** go with a frame, up to `descriptors_max()` of them; they arrive with it, close-on-exec,
/// or the
///   receive is `exhausted` and the frame is gone. A channel that carries none says `refused`.
/// - **Resources.** The number of descriptors that an end holds does not grow with what passes through it.
/// Descriptors
///   0 to 2 are never taken, also where the program has closed them.
/// - **Ownership.** One process owns an end, and one thread at a time uses it in each direction. The copy of
/// an end in
///   a plain fork's child is `refused`, and does not keep the original's peer from seeing its death.
/// - **Hostile bytes.** Nothing that comes from the peer is believed before it is checked: what breaks the
/// channel's
///   format is `malformed`, and the end is of no further use.
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
};

}  // namespace troupe
