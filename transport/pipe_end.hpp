// SPDX-License-Identifier: MIT
#pragma once
// Internal. An end of a pipe below types: a channel that the threads of a process use in turn.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <utility>
#include <vector>

namespace troupe::detail {

/// Whose turn it is among threads. A mutex whose wait has a deadline (ThreadSanitizer of g++ 12 does not know
/// std::timed_mutex's on the steady clock).
class Turn {
 public:
  /// False at the deadline.
  [[nodiscard]] bool take(TimePoint deadline);
  void give_back();

 private:
  std::mutex lock_;
  std::condition_variable given_back_;
  bool taken_ = false;
};

/// A turn for as long as this lives.
class TakenTurn {
 public:
  explicit TakenTurn(Turn& turn) noexcept : turn_{&turn} {}
  TakenTurn(TakenTurn&& other) noexcept : turn_{std::exchange(other.turn_, nullptr)} {}
  TakenTurn& operator=(TakenTurn&&) = delete;
  ~TakenTurn() {
    if (turn_ != nullptr) turn_->give_back();
  }

 private:
  Turn* turn_;
};

/// A message in a pipe is one frame: type id, then its encoding.
class PipeEnd {
 public:
  explicit PipeEnd(std::unique_ptr<Channel> channel) noexcept : channel_{std::move(channel)} {}

  struct Message {
    std::uint64_t type = 0;
    std::span<const std::byte> bytes{};  ///< valid until the turn ends
  };

  /// `timed_out` when another thread has the turn until the deadline; `refused` in a plain fork's child.
  [[nodiscard]] Result<TakenTurn> sending(TimePoint deadline);
  [[nodiscard]] Result<TakenTurn> receiving(TimePoint deadline);

  // In a sending turn.
  [[nodiscard]] std::span<std::byte> room();  ///< for the encoding
  [[nodiscard]] Result<void> send(std::uint64_t type, std::size_t bytes, TimePoint deadline);
  void close() noexcept { channel_->close(); }
  [[nodiscard]] Error too_large(std::string_view type) const;

  // In a receiving turn.
  [[nodiscard]] Result<Message> receive(TimePoint deadline);

  [[nodiscard]] Waitable readable();
  [[nodiscard]] Result<ChannelParts> take_parts();

  [[nodiscard]] static Error moved_away();
  [[nodiscard]] static Error other_type(std::string_view expected, std::uint64_t came);

 private:
  [[nodiscard]] Result<TakenTurn> take(Turn& turn, TimePoint deadline);

  ForkGuard guard_;  // looked at before a turn: one that is taken at a fork stays so in the child
  std::unique_ptr<Channel> channel_;
  Turn sending_;
  Turn receiving_;
  std::vector<std::byte> output_{};
  std::vector<std::byte> input_{};
};

}  // namespace troupe::detail
