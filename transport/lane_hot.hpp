// SPDX-License-Identifier: MIT
#pragma once
// Internal. What a lane does for every message, inline; included by lane.hpp.

#include <algorithm>
#include <bit>
#include <cstring>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/mutant.hpp>

namespace troupe {

namespace lane {

/// Finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), folded to 32 bits.
[[nodiscard]] inline std::uint32_t check_of(const FrameHeader& header, std::uint64_t lane_id) noexcept {
  std::uint64_t x = header.offset ^ std::rotl(header.type, 17) ^ std::rotl(header.sequence, 31) ^
                    std::rotl(lane_id, 47) ^ header.length;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return static_cast<std::uint32_t>(x ^ (x >> 32U));
}

}  // namespace lane

// ---- LaneWriter -----------------------------------------------------------------------------------

inline std::size_t LaneWriter::payload_bytes_max() const noexcept {
  return spec_.capacity / lane::frame_share - sizeof(lane::FrameHeader);
}

inline std::byte* LaneWriter::at(std::uint64_t offset) const noexcept {
  return map_.data() + lane::page_bytes + (offset & (spec_.capacity - 1));
}

inline Result<std::span<std::byte>> LaneWriter::reserve(std::size_t bytes) noexcept {
  if (bytes > payload_bytes_max()) return std::span<std::byte>{};
  const std::uint64_t wanted = lane::frame_bytes(bytes);
  if (room() < wanted) {
    auto found = look_for_room();
    if (!found) return failure(std::move(found));
    if (*found < wanted) return std::span<std::byte>{};
  }
  if (TROUPE_MUTANT(commit_before_payload)) page_->tail.store(tail_ + wanted, std::memory_order_release);
  return std::span{at(tail_) + sizeof(lane::FrameHeader),
                   std::min<std::size_t>(room() - sizeof(lane::FrameHeader), payload_bytes_max())};
}

inline std::uint64_t LaneWriter::publish(const FrameInfo& info, std::size_t bytes) noexcept {
  const std::uint64_t offset = tail_;
  lane::FrameHeader header{static_cast<std::uint32_t>(bytes), 0, offset, info.type, info.sequence};
  header.check = lane::check_of(header, spec_.id);
  std::memcpy(at(offset), &header, sizeof header);
  tail_ = offset + lane::frame_bytes(bytes);
  if (TROUPE_MUTANT(commit_in_two_stores)) page_->tail.store(offset + sizeof header);
  detail::store_in_order(page_->tail, tail_, TROUPE_MUTANT(unordered_publish));
  wake_reader();
  return offset;
}

inline void LaneWriter::wake_reader() noexcept {
  if (asleep_ == nullptr) return;
  const std::uint32_t asleep = asleep_->load(std::memory_order_seq_cst);
  if (asleep % 2 == 0 || asleep == rung_) return;  // one ring per sleep: the reader may take long to run
  rung_ = asleep;
  ring(bell_);
}

// ---- LaneReader -----------------------------------------------------------------------------------

inline bool LaneReader::pending() const noexcept {
  if (known_tail_ == head_) known_tail_ = page_->tail.load(std::memory_order_seq_cst);
  return known_tail_ != head_;
}

inline const char* LaneReader::broken_rule(const lane::FrameHeader& header,
                                           std::size_t bytes_max) const noexcept {
  if (header.offset != head_ && !TROUPE_MUTANT(offset_unchecked))
    return "a frame that says it lies elsewhere";
  if (lane::frame_bytes(header.length) > std::min(known_tail_ - head_, spec_.capacity / lane::frame_share))
    return "a frame longer than what was published";
  if (header.length > bytes_max) return "a frame longer than agreed";
  if (header.check != lane::check_of(header, spec_.id)) return "a frame header with a wrong check";
  return nullptr;
}

inline Result<Frame> LaneReader::peek(std::vector<std::byte>& buffer, std::size_t bytes_max) const {
  if (known_tail_ == head_) known_tail_ = page_->tail.load(std::memory_order_acquire);
  const std::uint64_t available = known_tail_ - head_;
  if (available > spec_.capacity) return broken("its tail lies outside the ring");
  if (available < sizeof(lane::FrameHeader)) return broken("a frame without a whole header");
  const std::byte* const at = map_.data() + lane::page_bytes + (head_ & (spec_.capacity - 1));
  lane::FrameHeader header{};
  std::memcpy(&header, at, sizeof header);
  asm volatile(
      "" ::
          : "memory");  // the copy is what is checked and used: the compiler may not read the ring again
  if (const char* const rule = broken_rule(header, bytes_max)) return broken(rule);
  if (TROUPE_MUTANT(length_read_twice)) std::memcpy(&header, at, sizeof header);
  if (TROUPE_MUTANT(acknowledge_before_handler))
    slot_->head.store(head_ + lane::frame_bytes(header.length), std::memory_order_release);
  if (buffer.size() < header.length) buffer.resize(header.length);
  if (header.length != 0) std::memcpy(buffer.data(), at + sizeof header, header.length);
  asm volatile("" ::: "memory");
  return Frame{{header.type, header.sequence}, header.offset, std::span{buffer}.first(header.length)};
}

inline std::uint32_t LaneReader::begin_attempt() noexcept {
  const std::uint64_t old = slot_->attempt.load(std::memory_order_relaxed);
  const bool again = old >> lane::attempts_bits == head_;
  const std::uint64_t count = again ? std::min((old & lane::attempts_mask) + 1, lane::attempts_mask) : 1;
  slot_->attempt.store(head_ << lane::attempts_bits | count, std::memory_order_release);
  return static_cast<std::uint32_t>(count);
}

inline void LaneReader::acknowledge(const Frame& frame) noexcept {
  head_ = frame.offset + lane::frame_bytes(frame.payload.size());
  slot_->head.store(head_, std::memory_order_release);
  if (head_ - settled_ >= spec_.capacity / 4) settle();
}

}  // namespace troupe
