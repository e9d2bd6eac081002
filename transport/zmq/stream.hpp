// SPDX-License-Identifier: MIT
#pragma once
// Internal. The two halves of a channel's acknowledgement layer. Pure: no socket, no clock, no thread.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace troupe::zmq {

/// What a channel promises of a frame whose send() has returned ok.
enum class Delivery : std::uint8_t {
  at_most_once = 1,   ///< lost if the connection breaks, or with its sender; never twice
  at_least_once = 2,  ///< arrives as long as both processes live, once: what may have been lost is sent again
};

namespace detail {

using Bytes = std::vector<std::byte>;

/// How much may be on its way in one direction: sent and not yet taken by the receiver's program.
struct Window {
  std::size_t frames_max = 0;
  std::size_t bytes_max = 0;  ///< one frame fits always

  [[nodiscard]] bool has_room(std::size_t frames, std::size_t bytes, std::size_t more) const noexcept {
    return frames == 0 || (frames < frames_max && bytes + more <= bytes_max);
  }
};

/// The sending half. Frames are numbered from 1; the end has a number as well.
class Outbox {
 public:
  Outbox(Delivery delivery, Window window) : delivery_{delivery}, own_{window}, peer_{window} {}

  void limit_to(Window peer) noexcept { peer_ = peer; }

  [[nodiscard]] bool has_room(std::size_t bytes) const noexcept {
    return own_.has_room(frames_.size(), bytes_, bytes);
  }
  void push(std::span<const std::byte> frame);
  void end();
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  /// Whether the peer has the end, and so everything.
  [[nodiscard]] bool end_received() const noexcept { return ended_ && received_ == last(); }
  [[nodiscard]] bool untouched() const noexcept { return last() == 0; }

  struct Next {
    std::uint64_t sequence;
    bool end;
    std::span<const std::byte> bytes;
  };
  /// Whether there is something to transmit that fits into the peer's window.
  [[nodiscard]] bool has_next() const noexcept;
  [[nodiscard]] Next next() const;
  void transmitted();

  /// False for numbers that this end never sent.
  [[nodiscard]] bool on_progress(std::uint64_t received, std::uint64_t consumed);
  /// On a new connection, of which the peer says that it has everything up to `received`. Returns how far the
  /// peer is to skip: 0 if not at all.
  std::uint64_t on_reconnect(std::uint64_t received);

 private:
  struct Frame {
    Bytes bytes;
    std::size_t size;
    bool end;
  };
  [[nodiscard]] std::uint64_t last() const noexcept { return consumed_ + frames_.size(); }
  [[nodiscard]] Frame& at(std::uint64_t sequence) { return frames_[sequence - consumed_ - 1]; }
  void forget_bytes(std::uint64_t upto);

  Delivery delivery_;
  Window own_;
  Window peer_;
  std::deque<Frame> frames_{};  ///< those after consumed_
  std::size_t bytes_ = 0;       ///< of these
  std::size_t on_its_way_ = 0;  ///< bytes of those up to transmitted_
  std::uint64_t consumed_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t transmitted_ = 0;
  std::uint64_t forgotten_ = 0;  ///< the bytes of those up to here are freed
  bool ended_ = false;
};

/// The receiving half.
class Inbox {
 public:
  Inbox(Delivery delivery, Window window) : delivery_{delivery}, window_{window} {}

  enum class Verdict : std::uint8_t { taken, duplicate, gap, malformed };
  [[nodiscard]] Verdict accept(std::uint64_t sequence, std::span<const std::byte> frame);
  [[nodiscard]] Verdict accept_end(std::uint64_t sequence);
  [[nodiscard]] Verdict skip(std::uint64_t sequence);

  [[nodiscard]] bool empty() const noexcept { return frames_.empty(); }
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] Bytes pop();

  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  [[nodiscard]] std::uint64_t consumed() const noexcept { return consumed_; }
  /// Whether enough has been consumed since `told` that the sender should hear of it.
  [[nodiscard]] bool worth_telling(std::uint64_t told) const noexcept;

  [[nodiscard]] std::uint64_t duplicates() const noexcept { return duplicates_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  [[nodiscard]] Verdict check(std::uint64_t sequence);

  struct Frame {
    std::uint64_t sequence;
    Bytes bytes;
  };
  Delivery delivery_;
  Window window_;
  std::deque<Frame> frames_{};
  std::size_t bytes_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t consumed_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t lost_ = 0;
  bool ended_ = false;
};

}  // namespace detail
}  // namespace troupe::zmq
