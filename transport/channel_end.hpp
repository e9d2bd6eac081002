// SPDX-License-Identifier: MIT
#pragma once
// Internal. What every end of a channel has that is made of descriptors.

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/channel_layout.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <utility>

namespace troupe::detail {

/// Bounds of an end, its states (unused, used, closed, taken apart), and its *life socket*: a socket pair
/// beside the carrier on which an end that closes says so. So an orderly end is told from a death, also where
/// the carrier is full or tells nothing of its peer.
///
/// A channel declares it as its last member: then the word is said before anything else is closed.
class ChannelEnd {
 public:
  [[nodiscard]] static Result<std::pair<OwnedFd, OwnedFd>> create_life();

  ChannelEnd(OwnedFd life, std::size_t frame_bytes_max, std::size_t descriptors_max)
      : life_{std::move(life)}, frame_bytes_max_{frame_bytes_max}, descriptors_max_{descriptors_max} {}
  ChannelEnd(const ChannelEnd&) = delete;
  ChannelEnd& operator=(const ChannelEnd&) = delete;
  ~ChannelEnd();  ///< says that the end is gone

  [[nodiscard]] std::size_t frame_bytes_max() const noexcept { return frame_bytes_max_; }
  [[nodiscard]] std::size_t descriptors_max() const noexcept { return descriptors_max_; }

  /// Before each send and receive; from the first one on the end is used.
  [[nodiscard]] Result<void> check_send(std::size_t bytes, std::size_t descriptors);
  [[nodiscard]] Result<void> check_receive();

  /// Says it. True once, and only where the end is this process's: the carrier's direction is to be closed
  /// then.
  [[nodiscard]] bool end_sending() noexcept;

  /// Why nothing more comes, or can be sent; none while it may. What the peer sent before lies in the carrier
  /// by the time this says so: look there once more.
  [[nodiscard]] std::optional<Error> receiving_over();
  [[nodiscard]] std::optional<Error> sending_over();

  /// Whether the peer is known to have closed a direction, or to be gone: then the two above are worth a
  /// look.
  [[nodiscard]] bool has_spoken() const noexcept { return spoken_.load(std::memory_order_relaxed); }

  /// The life socket: it changes when there is something new to see. Nothing is ever taken off it, since two
  /// threads may wait on it.
  [[nodiscard]] int life() const noexcept { return life_.get(); }
  [[nodiscard]] Result<OwnedFd> take_life();

  [[nodiscard]] static Error closed();
  [[nodiscard]] static Error down();

 private:
  [[nodiscard]] Result<void> check() const;
  void say(channel::LifeWord word) const noexcept;
  void look();

  ForkGuard guard_;
  HeldFd life_;
  std::size_t frame_bytes_max_;
  std::size_t descriptors_max_;
  std::atomic<bool> used_{false};
  bool closed_ = false;  // of the sending thread

  std::atomic<bool> spoken_{false};
  std::mutex seen_lock_;
  bool sends_no_more_ = false;
  bool gone_ = false;
  bool hung_up_ = false;
  bool babbles_ = false;
};

}  // namespace troupe::detail
