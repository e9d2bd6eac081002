// SPDX-License-Identifier: MIT
#include <troupe/transport/queue_writer.hpp>

#include <algorithm>
#include <troupe/transport/mutant.hpp>

namespace troupe::detail {
namespace {

using queue::Lease;
using queue::Owner;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

constexpr std::uint64_t padded(std::uint64_t bytes) noexcept {
  return (bytes + queue::payload_alignment - 1) / queue::payload_alignment * queue::payload_alignment;
}

/// Takes a lane whose owner is gone.
bool take(QueueFile& file, std::size_t lane, Owner me) noexcept {
  std::uint64_t owner = file.lane(lane).owner.load(memory_order_acquire);
  return !is_there(file, static_cast<std::uint32_t>(owner)) &&
         file.lane(lane).owner.compare_exchange_strong(owner, me.word(), memory_order_seq_cst);
}

}  // namespace

// ---- taking a lane ----------------------------------------------------------------------------------------

Result<std::size_t> QueueWriter::reserve_lane(QueueFile& file, Owner me) {
  for (int round = 0; round < 2; ++round) {
    for (std::size_t lane = 0; lane < file.bounds().senders; ++lane)
      if (take(file, lane, me)) return lane;
    if (round == 0) reap_all(file);
  }
  return failure(ErrorKind::exhausted, "queue " + file.name() + ": it has its " +
                                           std::to_string(file.bounds().senders) +
                                           " senders; try a larger senders_max");
}

Result<QueueWriter> QueueWriter::take_sender_lane(std::shared_ptr<QueueFile> file, Owner me) {
  auto lane = reserve_lane(*file, me);
  if (!lane) return failure(std::move(lane));
  return create(std::move(file), *lane);
}

Result<QueueWriter> QueueWriter::take_over_lane(std::shared_ptr<QueueFile> file, Owner me) {
  for (std::size_t lane = 0; lane < file->bounds().senders; ++lane)
    if (file->lane(lane).owner.load(memory_order_acquire) == me.word()) return create(std::move(file), lane);
  return failure(ErrorKind::malformed, "queue " + file->name() + ": an end without its lane");
}

Result<QueueWriter> QueueWriter::take_quarantine(std::shared_ptr<QueueFile> file, Owner me) {
  const std::size_t lane = file->quarantine_lane();
  if (!take(*file, lane, me)) return failure(ErrorKind::full, "queue: another end is at the quarantine");
  return create(std::move(file), lane);
}

Result<QueueWriter> QueueWriter::create(std::shared_ptr<QueueFile> file, std::size_t lane) {
  auto payload = file->map_lane(lane);
  if (!payload) {
    file->lane(lane).owner.store(0, memory_order_release);
    return failure(std::move(payload));
  }
  return QueueWriter{std::move(file), lane, std::move(*payload)};
}

QueueWriter::QueueWriter(std::shared_ptr<QueueFile> file, std::size_t lane, MemoryMap payload)
    : file_{std::move(file)},
      lane_{lane},
      payload_{std::move(payload)},
      head_{advance_head(*file_, lane_)},
      tail_{words().tail.load(memory_order_relaxed)} {
  end_wait();  // of a dead owner's wait
  if (head_ == tail_) return;
  const queue::Record& last = file_->record(lane_, tail_ - 1);
  offset_ = last.offset + padded(last.length);
}

void QueueWriter::release() noexcept { words().owner.store(0, memory_order_seq_cst); }

// ---- room -------------------------------------------------------------------------------------------------

std::size_t QueueWriter::items_max() const noexcept {
  return lane_ == file_->quarantine_lane() ? queue::quarantine_items : file_->bounds().items_max;
}

bool QueueWriter::is_done(std::uint64_t number) const noexcept {
  return Lease::of(file_->record(lane_, number).lease.load(memory_order_seq_cst)).state == Lease::State::done;
}

std::optional<std::span<std::byte>> QueueWriter::room(std::size_t bytes) {
  if (auto found = known_room(bytes)) return found;
  head_ = advance_head(*file_, lane_);
  return known_room(bytes);
}

std::optional<std::span<std::byte>> QueueWriter::known_room(std::size_t bytes) {
  const std::uint64_t ring = file_->bounds().ring_bytes;
  const std::uint64_t needed = padded(bytes);
  if (tail_ - head_ >= items_max()) return std::nullopt;
  // A payload is contiguous: one that would run over the ring's end begins at its beginning.
  const std::uint64_t place = offset_ & (ring - 1);
  start_ = place + needed > ring ? offset_ + (ring - place) : offset_;
  const std::uint64_t oldest = head_ == tail_ ? start_ : file_->record(lane_, head_).offset;
  if (start_ + needed - oldest > padded(file_->bounds().bytes_max)) return std::nullopt;
  return std::span{payload_.data() + (start_ & (ring - 1)), bytes};
}

void QueueWriter::publish(std::uint64_t type, std::size_t bytes, std::uint32_t flags, std::uint32_t attempts,
                          std::uint32_t cause) noexcept {
  queue::Record& record = file_->record(lane_, tail_);
  if (TROUPE_MUTANT(queue_commit_before_record)) words().tail.store(tail_ + 1);
  record.offset = start_;
  record.type = type;
  record.length = static_cast<std::uint32_t>(bytes);
  record.flags = flags;
  const Lease lease{Lease::State::ready, attempts, cause, static_cast<std::uint32_t>(tail_)};
  record.lease.store(lease.word(), memory_order_relaxed);
  offset_ = start_ + padded(bytes);
  ++tail_;
  store_in_order(words().tail, tail_, TROUPE_MUTANT(queue_unordered_publish));
}

// ---- dropping ---------------------------------------------------------------------------------------------

bool QueueWriter::drop(std::uint64_t number) noexcept {
  queue::Record& record = file_->record(lane_, number);
  std::uint64_t word = record.lease.load(memory_order_acquire);
  Lease lease = Lease::of(word);
  if (lease.state != Lease::State::ready) return false;
  lease.state = Lease::State::done;
  return record.lease.compare_exchange_strong(word, lease.word(), memory_order_seq_cst);
}

bool QueueWriter::drop_oldest() noexcept {
  head_ = advance_head(*file_, lane_);
  return head_ < tail_ && drop(head_);
}

std::size_t QueueWriter::drop_ready_before(std::uint64_t end) noexcept {
  std::size_t dropped = 0;
  for (std::uint64_t number = head_; number < end; ++number) dropped += drop(number) ? 1 : 0;
  return dropped;
}

// ---- waiting ----------------------------------------------------------------------------------------------

bool QueueWriter::announce_wait() noexcept {
  // Not for the first record that gets done: a sleep and a ring for each would cost more than the messages.
  std::uint64_t wanted = head_ + (tail_ - head_) / 4;
  if (is_done(wanted))
    for (wanted = head_; wanted < tail_ && is_done(wanted);) ++wanted;
  if (wanted >= tail_) return false;
  words().wanted.store(wanted, memory_order_seq_cst);
  words().waiting.store((words().waiting.load(memory_order_relaxed) + 1) | 1U, memory_order_seq_cst);
  return !is_done(wanted);
}

void QueueWriter::end_wait() noexcept {
  const std::uint32_t waiting = words().waiting.load(memory_order_relaxed);
  if (waiting % 2 != 0) words().waiting.store(waiting + 1, memory_order_release);
}

}  // namespace troupe::detail
