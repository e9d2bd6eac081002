// SPDX-License-Identifier: MIT
#pragma once
// Internal. An end of a pipe below types: a channel that the threads of a process use in turn.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
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
    std::vector<OwnedFd> descriptors{};
  };

  /// `timed_out` when another thread has the turn until the deadline; `refused` in a plain fork's child.
  [[nodiscard]] Result<TakenTurn> sending(TimePoint deadline);
  [[nodiscard]] Result<TakenTurn> receiving(TimePoint deadline);

  // In a sending turn.
  [[nodiscard]] std::span<std::byte> room();  ///< for the encoding
  [[nodiscard]] Result<void> send(std::uint64_t type, std::size_t bytes, std::span<const int> descriptors,
                                  TimePoint deadline);
  void close() noexcept { channel_->close(); }
  [[nodiscard]] Error too_large(std::string_view type) const;

  // In a receiving turn.
  [[nodiscard]] Result<Message> receive(TimePoint deadline);

  [[nodiscard]] Waitable readable();
  [[nodiscard]] std::size_t descriptors_max() const noexcept { return channel_->descriptors_max(); }
  [[nodiscard]] Result<ChannelParts> take_parts();
  /// The parts to be copied for another process. They stay here, so that what did not go can be sent again,
  /// and close without a word to the peer: the end itself is `refused` from now on.
  [[nodiscard]] Result<const ChannelParts*> travelling_parts();

  [[nodiscard]] static Error moved_away();
  [[nodiscard]] static Error no_end();
  [[nodiscard]] static Error other_type(std::string_view expected, std::uint64_t came);

 private:
  [[nodiscard]] Result<TakenTurn> take(Turn& turn, TimePoint deadline);

  ForkGuard guard_;  // looked at before a turn: one that is taken at a fork stays so in the child
  std::unique_ptr<Channel> channel_;
  Turn sending_;
  Turn receiving_;
  std::vector<std::byte> output_{};
  std::vector<std::byte> input_{};
  std::optional<ChannelParts> travelling_{};
};

inline constexpr std::size_t parts_max = 7;  ///< of an end, over any carrier

/// Parts as a value. Of one size, whatever the carrier, since the size is asked for before an end is taken
/// apart.
template <class Archive>
void save_parts(Archive& archive, const ChannelParts& parts) {
  TROUPE_ASSERT(parts.descriptors.size() <= parts_max);
  archive(static_cast<std::uint8_t>(parts.carrier), static_cast<std::uint64_t>(parts.frame_bytes_max),
          static_cast<std::uint8_t>(parts.descriptors.size()));
  for (std::size_t i = 0; i < parts_max; ++i) {
    if (i < parts.descriptors.size())
      archive.deposit(parts.descriptors[i].get());
    else
      archive(std::uint64_t{0});
  }
}

/// Throws Failure for what are no parts. Whether they make an end, channel_from says.
template <class Archive>
ChannelParts load_parts(Archive& archive) {
  std::uint8_t carrier = 0;
  std::uint64_t frame_bytes_max = 0;
  std::uint8_t count = 0;
  archive(carrier, frame_bytes_max, count);
  ChannelParts parts{static_cast<Carrier>(carrier), frame_bytes_max, {}};
  for (std::size_t i = 0; i < parts_max; ++i) {
    std::uint64_t nothing = 0;
    if (i < count)
      parts.descriptors.push_back(archive.withdraw());
    else
      archive(nothing);
    if (nothing != 0) throw Failure{PipeEnd::no_end()};
  }
  if (count > parts_max) throw Failure{PipeEnd::no_end()};
  return parts;
}

/// Null: an end that has been moved away.
template <class Archive>
void save_pipe_end(Archive& archive, PipeEnd* end) {
  if (!archive.carries()) {
    ChannelParts stand_in;
    stand_in.descriptors.emplace_back();  // only to be counted, or refused
    return save_parts(archive, stand_in);
  }
  auto parts = end != nullptr ? end->travelling_parts() : tl::unexpected{PipeEnd::moved_away()};
  if (!parts) return archive.refuse(std::move(parts.error()));
  save_parts(archive, **parts);
}

}  // namespace troupe::detail
