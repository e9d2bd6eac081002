// SPDX-License-Identifier: MIT
#pragma once
// Internal. The bytes of a lane in shared memory; the page that explains them is docs/lane.md.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace troupe::lane {

inline constexpr std::uint64_t writer_magic = 0x3150'5055'4F52'5431U;
inline constexpr std::uint64_t reader_magic = 0x3143'5055'4F52'5431U;
inline constexpr std::uint32_t layout_version = 1;

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t line_bytes = 64;
inline constexpr std::size_t capacity_min = 8 * std::size_t{1024};
inline constexpr std::size_t capacity_max = 4 * std::size_t{1024} * 1024;
inline constexpr std::size_t capacity_growth = 4;  ///< a lane grows by this factor
inline constexpr std::size_t frame_share = 4;      ///< a frame takes at most 1/4 of its lane
inline constexpr std::size_t frame_bytes_max = capacity_max / frame_share;
inline constexpr std::size_t frame_alignment = 8;
inline constexpr std::size_t slots_max = 256;  ///< lanes that end in one reader

using Word = std::atomic<std::uint64_t>;
using HalfWord = std::atomic<std::uint32_t>;

/// First page of a P-file, written by the sender only; its ring follows.
struct WriterPage {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t reserved;
  std::uint64_t id;
  std::uint64_t capacity;
  std::uint64_t base;                    ///< the offset of the lane's first frame
  alignas(line_bytes) Word tail;         ///< end of the last whole frame
  alignas(line_bytes) HalfWord waiting;  ///< odd while the sender waits for room
  alignas(line_bytes) std::array<std::byte, page_bytes - 3 * line_bytes> unused;
};

/// One lane's words in its reader's C-file. A slot serves one lane after another and
/// `head` never goes back: a lane begins where its slot's last one ended.
struct alignas(line_bytes) ReaderSlot {
  Word head;     ///< every frame before it has been acknowledged
  Word attempt;  ///< offset of the frame in hand << 8 | attempts, this one included
};

/// What a reader shows of itself, for whoever judges it from outside.
struct alignas(line_bytes) Progress {
  Word steps;         ///< acknowledged frames and commits of kept state: moves while there is progress
  Word acknowledged;  ///< frames
  Word duplicates;    ///< frames dropped because their sequence had been seen
  Word type_in_hand;  ///< type_id of the message whose handler runs, 0 between handlers
  HalfWord activity;  ///< an Activity
};

enum class Activity : std::uint32_t {
  idle,     ///< nothing in hand
  working,  ///< from taking a frame until everything it caused has been sent
  parked,   ///< waiting for room in somebody else's lane: that one is to be judged
};

inline constexpr std::size_t note_bytes_max = 112;
/// One line of text about what the reader is doing; a sequence lock, odd while it is being written.
struct alignas(line_bytes) Note {
  HalfWord version;
  HalfWord length;
  std::array<std::atomic<char>, note_bytes_max> text;
};

/// First page of a C-file, written by the reader only; its slots follow.
struct ReaderPage {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t slots;
  alignas(line_bytes) HalfWord asleep;  ///< odd while the reader sleeps on its bell
  Progress progress;
  Note note;
  alignas(line_bytes) std::array<std::byte, page_bytes - 5 * line_bytes> unused;
};

/// In front of every payload, aligned to `frame_alignment`.
struct FrameHeader {
  std::uint32_t length;    ///< bytes of payload
  std::uint32_t check;     ///< over the other fields and the lane's id; against bugs, not against attackers
  std::uint64_t offset;    ///< where this frame lies: its number in the lane
  std::uint64_t type;      ///< type_id of the message
  std::uint64_t sequence;  ///< kind << 56 | number per (sender role, receiver role); number 0: not numbered
};

inline constexpr std::uint64_t attempts_mask = 0xFF;
inline constexpr unsigned attempts_bits = 8;

[[nodiscard]] constexpr std::uint64_t frame_bytes(std::uint64_t payload) noexcept {
  return (sizeof(FrameHeader) + payload + frame_alignment - 1) / frame_alignment * frame_alignment;
}
[[nodiscard]] constexpr std::size_t writer_file_bytes(std::size_t capacity) noexcept {
  return page_bytes + capacity;
}
[[nodiscard]] constexpr std::size_t reader_file_bytes(std::size_t slots) noexcept {
  return page_bytes + slots * sizeof(ReaderSlot);
}

static_assert(sizeof(WriterPage) == page_bytes && alignof(WriterPage) == line_bytes);
static_assert(sizeof(ReaderPage) == page_bytes && sizeof(ReaderSlot) == line_bytes);
static_assert(sizeof(Progress) == line_bytes && sizeof(Note) == 2 * line_bytes);
static_assert(sizeof(FrameHeader) == 32);
static_assert(Word::is_always_lock_free && HalfWord::is_always_lock_free &&
              std::atomic<char>::is_always_lock_free);
static_assert(sizeof(Word) == 8 && sizeof(HalfWord) == 4 && sizeof(std::atomic<char>) == 1);

}  // namespace troupe::lane
