// SPDX-License-Identifier: MIT
#pragma once
// Internal. The bytes of a queue in shared memory; the page that explains them is docs/queue.md.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace troupe::queue {

inline constexpr std::uint64_t magic = 0x3151'5055'4F52'5431U;
inline constexpr std::uint32_t layout_version = 2;

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t line_bytes = 64;
inline constexpr std::size_t ends_max = 128;
inline constexpr std::size_t senders_max = 64;
inline constexpr std::size_t items_max = std::size_t{1} << 20U;  ///< of one sender
inline constexpr std::size_t bytes_max = std::size_t{1} << 30U;  ///< of one sender
inline constexpr std::size_t payload_alignment = 8;
inline constexpr std::uint32_t attempts_max = 60;
inline constexpr std::size_t quarantine_items = 64;  ///< the last so many are kept
inline constexpr std::size_t room_bells = 4;         ///< senders that wait for room share them, by their lane

/// In Record::flags: descriptors belong to it, and wait at the keeper.
inline constexpr std::uint32_t with_descriptors = 1;

using Word = std::atomic<std::uint64_t>;
using HalfWord = std::atomic<std::uint32_t>;

/// Who has a place among the ends, in one word, so that it is taken with everything that its death is judged
/// by: kind 4 | generation 14 | start time's low bits 24 | pid 22.
struct SlotState {
  enum class Kind : std::uint8_t { free, owner, sender, receiver, travelling };
  Kind kind = Kind::free;
  std::uint32_t generation = 0;  ///< moves whenever the place is given up
  std::uint32_t started = 0;     ///< low bits of ProcessMark::started
  std::uint32_t pid = 0;

  static constexpr unsigned pid_bits = 22;  // what the kernel's pid_max can be at most
  static constexpr unsigned started_bits = 24;
  static constexpr unsigned generation_bits = 14;
  static constexpr std::uint32_t started_mask = (1U << started_bits) - 1;
  static constexpr std::uint32_t generation_mask = (1U << generation_bits) - 1;

  [[nodiscard]] constexpr std::uint64_t word() const noexcept {
    return std::uint64_t{static_cast<std::uint8_t>(kind)} << 60U | std::uint64_t{generation} << 46U |
           std::uint64_t{started} << pid_bits | pid;
  }
  [[nodiscard]] static constexpr SlotState of(std::uint64_t word) noexcept {
    return {static_cast<Kind>(word >> 60U), static_cast<std::uint32_t>(word >> 46U) & generation_mask,
            static_cast<std::uint32_t>(word >> pid_bits) & started_mask,
            static_cast<std::uint32_t>(word) & ((1U << pid_bits) - 1)};
  }
  friend constexpr bool operator==(const SlotState&, const SlotState&) = default;
};

/// A slot of one generation: who has a lease or a lane. 0 is nobody.
struct Owner {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;

  /// 22 bits, never 0.
  [[nodiscard]] constexpr std::uint32_t word() const noexcept {
    return (slot + 1) << SlotState::generation_bits | generation;
  }
  [[nodiscard]] static constexpr Owner of(std::uint32_t word) noexcept {
    return {(word >> SlotState::generation_bits) - 1, word & SlotState::generation_mask};
  }
};

/// State 2 | attempt 6 | owner 24 | lap 32. The lap is the low half of the record's number, so a
/// compare-and-swap cannot mistake one record for a later one in the same place.
struct Lease {
  enum class State : std::uint8_t { ready, leased, done };
  State state = State::ready;
  std::uint32_t attempts = 0;  ///< begun ones
  std::uint32_t owner = 0;     ///< Owner::word(); in the quarantine the cause
  std::uint32_t lap = 0;

  static constexpr std::uint32_t attempts_mask = 63;
  static constexpr std::uint32_t owner_mask = (1U << 24U) - 1;
  /// Attempts of a record that is on its way to the quarantine for another reason than their number.
  static constexpr std::uint32_t malformed = 62;
  static constexpr std::uint32_t given_up = 63;

  [[nodiscard]] constexpr std::uint64_t word() const noexcept {
    return std::uint64_t{static_cast<std::uint8_t>(state)} << 62U | std::uint64_t{attempts} << 56U |
           std::uint64_t{owner} << 32U | lap;
  }
  [[nodiscard]] static constexpr Lease of(std::uint64_t word) noexcept {
    return {static_cast<State>(word >> 62U), static_cast<std::uint32_t>(word >> 56U) & attempts_mask,
            static_cast<std::uint32_t>(word >> 32U) & owner_mask, static_cast<std::uint32_t>(word)};
  }
  friend constexpr bool operator==(const Lease&, const Lease&) = default;
};

/// Counts of one end. They stay when it goes, and its successor counts on.
struct alignas(line_bytes) Counts {
  Word put;
  Word acknowledged;
  Word given_back;
  Word quarantined;
  Word refused_full;
  Word dropped_new;
  Word dropped_old;
  Word replaced;
};

struct alignas(line_bytes) Slot {
  Word state;  ///< a SlotState
  std::array<std::byte, line_bytes - sizeof(Word)> unused;
  Counts counts;
};

/// The words of one sender's ring of records. A line for each that is written by others or at other times
/// than its neighbours: the tail's is looked at by every receiver, and `next` is written with every item.
struct alignas(line_bytes) Lane {
  // Written by the lane's owner.
  Word tail;                             ///< number of the next record: storing it publishes
  alignas(line_bytes) HalfWord waiting;  ///< odd while the owner waits for room …
  HalfWord reserved;
  Word wanted;  ///< … until this record is done
  // Written by everybody.
  Word head;                      ///< every record before it is done, so its place is free; only grows
  Word owner;                     ///< an Owner::word(); the lane is free when that end is gone
  Word returned;                  ///< moves when a record becomes ready again: a hint to look from the head
  alignas(line_bytes) Word next;  ///< a hint: records before it were taken
};

/// A message in its lane. Everything but the lease is written before the record is published.
struct Record {
  Word lease;
  std::uint64_t
      offset;  ///< of its payload: bytes since the beginning of the lane, of which the low ones count
  std::uint64_t type;
  std::uint32_t length;
  std::uint32_t flags;
};

/// First page. The bounds are set when the queue is made and never change.
struct Page {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t ends;
  std::uint32_t lanes;  ///< of senders, and one more: the quarantine
  std::uint32_t items_max;
  std::uint32_t items;  ///< places of a lane: a power of two
  std::uint32_t attempts_max;
  std::uint64_t bytes_max;
  std::uint64_t ring_bytes;  ///< of a lane's payload: a power of two, whole pages
  std::uint32_t overflow;
  std::uint32_t reserved;
  alignas(line_bytes) HalfWord closed;  ///< 1: the owner holds the stream open no longer; latched
  HalfWord ended;                       ///< 1: nothing will come any more; latched
  HalfWord keeper;                      ///< who holds descriptors of items here; 0: nobody yet
  alignas(line_bytes) Word announced;   ///< moves when a receiver is about to sleep
  alignas(line_bytes) Word draining;    ///< moves when somebody is about to sleep until all is done
  alignas(line_bytes) std::array<std::byte, page_bytes - 4 * line_bytes> unused;
};

static_assert(sizeof(Page) == page_bytes && sizeof(Slot) == 2 * line_bytes && sizeof(Lane) == 3 * line_bytes);
static_assert(sizeof(Record) == 32 && sizeof(Counts) == line_bytes);
static_assert(Word::is_always_lock_free && HalfWord::is_always_lock_free);
static_assert(ends_max < 255 && Owner{ends_max - 1, SlotState::generation_mask}.word() <= Lease::owner_mask);
static_assert(SlotState::of(SlotState{SlotState::Kind::travelling, 9, 77, 4711}.word()) ==
              SlotState{SlotState::Kind::travelling, 9, 77, 4711});
static_assert(Lease::of(Lease{Lease::State::done, 61, 99, 12}.word()) ==
              Lease{Lease::State::done, 61, 99, 12});

}  // namespace troupe::queue
