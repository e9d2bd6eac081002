// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <troupe/transport/lane_layout.hpp>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe {

/// What both ends and whoever made the lane know of it. The copies in shared memory are only cross-checks.
struct LaneSpec {
  std::uint64_t id = 0;
  std::uint64_t capacity = lane::capacity_min;  ///< bytes; a power of two in [capacity_min, capacity_max]
  std::uint64_t base = 0;  ///< offset of the first frame: the final head of its slot's last lane
  std::uint32_t slot = 0;  ///< its place in the reader's C-file
};

/// What a frame carries beside its payload.
struct FrameInfo {
  std::uint64_t type = 0;
  std::uint64_t sequence = 0;  ///< see lane::FrameHeader
};

/// A reader's shared words: sleep counter, progress, one slot per lane. Two views of one C-file.
///
/// `ReaderFile` is the reader's own: the only writable mapping there will ever be, since
/// create() seals the file behind itself. `ReaderView` is everybody else's.
class ReaderFile {
 public:
  /// Bytes of a new C-file, for whoever makes it: heads and attempt words are zero, or those of the file that
  /// it replaces.
  [[nodiscard]] static std::vector<std::byte> initial(std::size_t slots);

  /// Maps the file for writing and seals it.
  [[nodiscard]] static Result<ReaderFile> create(int file, std::size_t slots);

  [[nodiscard]] lane::ReaderPage& page() const noexcept { return *page_; }
  [[nodiscard]] lane::ReaderSlot& slot(std::size_t index) const noexcept;

  /// Odd from announce_sleep to end_sleep. Between the two the caller looks at every lane once more, then
  /// sleeps on its bell.
  void announce_sleep() noexcept;
  /// Says the same anew: from now on every sender rings again. For another thread that goes to sleep, or
  /// wakes up, while one sleeps.
  void renew_sleep() noexcept;
  void end_sleep() noexcept;

  /// One line about what the process is doing, cut at lane::note_bytes_max bytes. A plain store of bytes: no
  /// system call.
  void note(std::string_view text) noexcept;

 private:
  MemoryMap map_;
  lane::ReaderPage* page_ = nullptr;
  std::size_t slots_ = 0;
};

class ReaderView {
 public:
  /// `refused` unless sealed and of the right size. Only who made the file itself maps it before it is sealed
  /// (`not_yet`).
  enum class Seals { required, not_yet };
  [[nodiscard]] static Result<ReaderView> create(int file, std::size_t slots, Seals seals = Seals::required);

  [[nodiscard]] const lane::ReaderPage& page() const noexcept { return *page_; }
  [[nodiscard]] const lane::ReaderSlot& slot(std::size_t index) const noexcept;
  [[nodiscard]] std::string note() const;

 private:
  MemoryMap map_;
  const lane::ReaderPage* page_ = nullptr;
  std::size_t slots_ = 0;
};

/// The sending end of a lane: a single-producer single-consumer ring in shared memory.
///
/// Invariant: bytes in [head, tail) are whole frames, and one aligned 8-byte store of
/// the tail publishes a frame. So a sender killed at any instruction has sent a frame
/// or has not, and harms nobody. Owner: one thread at a time.
class LaneWriter {
 public:
  /// Maps the P-file for writing, writes its header and seals the file behind itself.
  [[nodiscard]] static Result<LaneWriter> create(int file, const LaneSpec& spec);

  /// Looks at this reader and rings this bell from now on: a new incarnation of the reader has a new C-file.
  /// Rings once if frames are waiting, since the new reader may have gone to sleep before it was known here.
  void attach_reader(std::shared_ptr<const ReaderView> reader, int bell) noexcept;

  /// Contiguous room for a payload at the tail, at most `payload_bytes_max`; empty if there is less than
  /// `bytes`. `malformed` if the reader's head is impossible.
  [[nodiscard]] Result<std::span<std::byte>> reserve(std::size_t bytes) noexcept;

  /// Publishes the first `bytes` bytes of the room that the last reserve() gave, and rings the bell of a
  /// sleeping reader. Returns the frame's offset.
  std::uint64_t publish(const FrameInfo& info, std::size_t bytes) noexcept;

  /// Tells the reader that this end waits for room; look with reserve() once more, then sleep on your own
  /// bell. Said again, it asks for another ring; end_wait() without it does nothing.
  void announce_wait() noexcept;
  void end_wait() noexcept;

  [[nodiscard]] std::size_t payload_bytes_max() const noexcept;
  [[nodiscard]] const LaneSpec& spec() const noexcept { return spec_; }
  [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
  [[nodiscard]] std::uint64_t head() const noexcept;     ///< of the reader as last attached
  [[nodiscard]] std::uint64_t attempt() const noexcept;  ///< the reader's attempt word
  [[nodiscard]] bool drained() const noexcept { return head() == tail_; }

 private:
  LaneWriter(MemoryMap map, const LaneSpec& spec) noexcept;
  [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept;
  [[nodiscard]] std::uint64_t room() const noexcept { return spec_.capacity - (tail_ - known_head_); }
  [[nodiscard]] Result<std::uint64_t> look_for_room() noexcept;
  void wake_reader() noexcept;

  MemoryMap map_;
  lane::WriterPage* page_ = nullptr;
  LaneSpec spec_;
  std::uint64_t tail_ = 0;
  std::uint64_t known_head_ = 0;
  const lane::HalfWord* asleep_ = nullptr;  ///< of `reader_`
  std::uint32_t rung_ = 0;                  ///< the sleep value that was rung already
  int bell_ = -1;
  std::shared_ptr<const ReaderView> reader_;
};

/// A frame as its reader sees it: a private copy.
struct Frame {
  FrameInfo info{};
  std::uint64_t offset = 0;
  std::span<const std::byte> payload{};
};

/// The receiving end of a lane.
///
/// Invariant: nothing read from the P-file is trusted before it is bounded, and every
/// shared word is read once. A frame is acknowledged by one store, after its handler
/// has returned; what was not acknowledged is offered to the next incarnation. Owner: one thread at a time.
class LaneReader {
 public:
  /// Maps the P-file (sealed, of the right size) for reading. The first frame offered is the one at the
  /// slot's head.
  [[nodiscard]] static Result<LaneReader> create(int file, const LaneSpec& spec, lane::ReaderSlot& slot,
                                                 int credit_bell);

  /// Whether a frame is waiting. A look that finds none is sequentially consistent, as announce_sleep()
  /// demands; as long as frames are left of those that the last look found, there is no other.
  [[nodiscard]] bool pending() const noexcept;

  /// Copies the next frame into `buffer`, which only grows, and checks it: `malformed` says which rule it
  /// breaks, one of more than `bytes_max` before anything is allocated for it, and the lane is of no further
  /// use. Call only if pending().
  [[nodiscard]] Result<Frame> peek(std::vector<std::byte>& buffer,
                                   std::size_t bytes_max = lane::frame_bytes_max) const;

  /// One store, before the handler: attempts of the frame at the head, this one included. Returns the count
  /// (1 is the first).
  std::uint32_t begin_attempt() noexcept;
  /// Writes the count down to zero again: the attempt moved kept state, so it does not count.
  void forgive_attempts() noexcept;

  /// One store, after the handler: the frame at the head is done.
  void acknowledge(const Frame& frame) noexcept;

  /// Rings the sender's bell if it waits for room. acknowledge() does so by itself whenever a quarter of the
  /// lane has become free; call this when the lane is empty and before turning to another.
  void settle() noexcept;

  [[nodiscard]] std::uint64_t head() const noexcept { return head_; }
  /// For a reader that restores its place from its own kept state, before the first frame; never goes back.
  void resume_at(std::uint64_t offset) noexcept;
  [[nodiscard]] const LaneSpec& spec() const noexcept { return spec_; }

 private:
  LaneReader(MemoryMap map, const LaneSpec& spec, lane::ReaderSlot& slot, int credit_bell) noexcept;
  /// Null: none.
  [[nodiscard]] const char* broken_rule(const lane::FrameHeader& header,
                                        std::size_t bytes_max) const noexcept;
  [[nodiscard]] static tl::unexpected<Error> broken(const char* rule);

  MemoryMap map_;
  const lane::WriterPage* page_ = nullptr;
  LaneSpec spec_;
  lane::ReaderSlot* slot_ = nullptr;
  int credit_bell_ = -1;
  std::uint64_t head_ = 0;
  mutable std::uint64_t known_tail_ = 0;  ///< as last looked at, so never ahead of the real one
  std::uint64_t settled_ = 0;
  std::uint32_t rung_ = 0;
};

}  // namespace troupe

#include <troupe/transport/lane_hot.hpp>
