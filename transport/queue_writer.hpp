// SPDX-License-Identifier: MIT
#pragma once
// Internal. Publishing records in one lane of a queue.

#include <memory>
#include <optional>
#include <troupe/transport/queue_ends.hpp>

namespace troupe::detail {

/// The one writer of a lane: a sender, or for a moment whoever moves a record to the quarantine.
///
/// Invariant: records in [head, tail) are whole; one aligned 8-byte store of the tail publishes. All that a
/// successor needs stands in the lane, so it goes on where a dead one stopped. Owner: one thread.
class QueueWriter {
 public:
  /// Makes this end the owner of a lane that nobody (alive) owns. `exhausted` when there is none, or no
  /// memory.
  [[nodiscard]] static Result<QueueWriter> take_sender_lane(std::shared_ptr<QueueFile> file, queue::Owner me);
  /// Of the lane that was taken in this owner's name already.
  [[nodiscard]] static Result<QueueWriter> take_over_lane(std::shared_ptr<QueueFile> file, queue::Owner me);
  /// `full` while another end is at it.
  [[nodiscard]] static Result<QueueWriter> take_quarantine(std::shared_ptr<QueueFile> file, queue::Owner me);
  /// Reserves a lane for an end on its way, without touching its payload.
  [[nodiscard]] static Result<std::size_t> reserve_lane(QueueFile& file, queue::Owner me);

  /// Contiguous room for `bytes` at the tail; none if there is too little, also for one record more.
  [[nodiscard]] std::optional<std::span<std::byte>> room(std::size_t bytes);
  /// Publishes the first `bytes` of the room that was given. `attempts` and `cause` are 0 but in the
  /// quarantine. `flags`: Record::flags.
  void publish(std::uint64_t type, std::size_t bytes, std::uint32_t flags = 0, std::uint32_t attempts = 0,
               std::uint32_t cause = 0) noexcept;

  /// Drops the oldest record if nobody has it in hand. False if there is none such.
  [[nodiscard]] bool drop_oldest() noexcept;
  /// Drops every record before `end` that nobody has in hand; returns how many.
  std::size_t drop_ready_before(std::uint64_t end) noexcept;

  /// Says which record this writer waits for to be done. False if it need not wait: look for room again.
  [[nodiscard]] bool announce_wait() noexcept;
  void end_wait() noexcept;

  /// Gives up the lane; what was published stays. For the quarantine, whose owner lives on.
  void release() noexcept;
  [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
  [[nodiscard]] std::uint64_t backlog() const noexcept { return tail_ - head_; }  ///< as last looked at
  [[nodiscard]] std::size_t lane() const noexcept { return lane_; }

 private:
  QueueWriter(std::shared_ptr<QueueFile> file, std::size_t lane, MemoryMap payload);
  [[nodiscard]] static Result<QueueWriter> create(std::shared_ptr<QueueFile> file, std::size_t lane);
  [[nodiscard]] queue::Lane& words() const noexcept { return file_->lane(lane_); }
  [[nodiscard]] std::size_t items_max() const noexcept;
  [[nodiscard]] bool is_done(std::uint64_t number) const noexcept;
  [[nodiscard]] bool drop(std::uint64_t number) noexcept;
  [[nodiscard]] std::optional<std::span<std::byte>> known_room(std::size_t bytes);

  std::shared_ptr<QueueFile> file_;
  std::size_t lane_ = 0;
  MemoryMap payload_;
  std::uint64_t head_ = 0;  ///< as last looked at
  std::uint64_t tail_ = 0;
  std::uint64_t offset_ = 0;  ///< where the next payload may begin
  std::uint64_t start_ = 0;   ///< where the reserved one does
};

}  // namespace troupe::detail
