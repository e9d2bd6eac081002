// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_passing.hpp>
#include <utility>

namespace troupe {

/// The sending end of a Queue<T>. Copies are the same end; the stream stays open until the last of them is
/// gone. Any thread may use it; in a plain fork's child it is `refused`.
template <class T>
class Sender {
 public:
  Sender() = default;  ///< of no queue: `invalid`
  explicit Sender(std::unique_ptr<detail::QueueSender> end, detail::WeakAccess access = {})
      : end_{std::make_shared<detail::SharedEnd<detail::QueueSender>>(std::move(end))},
        access_{std::move(access)} {}

  /// As an argument of a Process, or in a message: the other process gets a sender of its own.
  template <class Archive>
  void save(Archive& archive) const {
    detail::save_end(archive, access_, detail::QueueAccess::End::sender);
  }
  template <class Archive>
  void load(Archive& archive) {
    detail::TravellingEnd travelling;
    archive(travelling);
    *this = Sender{detail::arrived_sender(std::move(travelling.pass)).value()};
  }

  /// Puts a value. When it returns `queued`, the value outlives this process. `timed_out` or `full` when
  /// there was no room (QueueOptions::overflow), `invalid` for what never fits.
  Result<Placed> put(const T& value, Duration within = std::chrono::seconds{5}) {
    if (!end_) return unbound();
    const std::size_t bytes = encoded_size(value);
    Deadline deadline{within};
    const std::lock_guard lock{end_->lock};
    auto room = end_->end->reserve(bytes, deadline);
    if (!room) return failure(std::move(room));
    if (room->data() == nullptr) return Placed::dropped;
    DescriptorStore* store = nullptr;
    if constexpr (!detail::is_block<T>) store = end_->end->descriptors();
    auto encoded = encode(value, *room, store);
    if (!encoded) return failure(std::move(encoded));
    if (auto put = end_->end->commit(type_id<T>, *encoded, deadline); !put) return failure(std::move(put));
    return Placed::queued;
  }
  Result<Placed> put_nowait(const T& value) { return put(value, Duration::zero()); }
  /// Waits until all that this end has put outlives this process, where a put that returned does not yet
  /// (QueueOptions::unconfirmed_puts_max). `timed_out`; `down`, `closed` when it never will.
  Result<void> flush(Duration within = std::chrono::seconds{5}) {
    if (!end_) return unbound();
    Deadline deadline{within};
    const std::lock_guard lock{end_->lock};
    return end_->end->flush(deadline);
  }

  /// Room in the queue itself, to be written in place. No other put of this end gets on before it is gone.
  class Room {
   public:
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool dropped() const noexcept { return bytes_.data() == nullptr; }
    /// Puts the first `used` bytes. Once.
    Result<Placed> commit(std::size_t used) && {
      if (dropped()) return Placed::dropped;
      TROUPE_ASSERT(used <= bytes_.size());
      const std::uint64_t tag = used;
      std::memcpy(bytes_.data() - detail::size_tag_bytes, &tag, sizeof tag);
      if (auto put = end_->end->commit(type_id<T>, detail::size_tag_bytes + used, deadline_); !put)
        return failure(std::move(put));
      return Placed::queued;
    }

   private:
    friend Sender;
    std::shared_ptr<detail::SharedEnd<detail::QueueSender>> end_{};
    std::unique_lock<std::mutex> lock_{};
    std::span<std::byte> bytes_{};
    Deadline deadline_{Duration::zero()};
  };
  /// `bytes` bytes of room for one item, not yet put; a Room that is not committed has put nothing.
  [[nodiscard]] Result<Room> reserve(std::size_t bytes, Duration within = std::chrono::seconds{5}) {
    static_assert(std::is_same_v<T, Bytes>,
                  "troupe: only bytes can be written in place; use Queue<troupe::Bytes>");
    if (!end_) return unbound();
    Room room;
    room.end_ = end_;
    room.lock_ = std::unique_lock{end_->lock};
    room.deadline_ = Deadline{within};
    auto reserved = end_->end->reserve(bytes + detail::size_tag_bytes, room.deadline_);
    if (!reserved) return failure(std::move(reserved));
    if (reserved->data() != nullptr) room.bytes_ = reserved->subspan(detail::size_tag_bytes, bytes);
    return room;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return end_ != nullptr; }

 private:
  static tl::unexpected<Error> unbound() {
    return failure(ErrorKind::invalid, "queue: this sender belongs to none; take one from a Queue");
  }
  std::shared_ptr<detail::SharedEnd<detail::QueueSender>> end_;
  detail::WeakAccess access_{};  ///< by which ends are made for other processes; none in one that arrived
};

}  // namespace troupe
