// SPDX-License-Identifier: MIT
#pragma once
// Internal. A queue's memory and bells.

#include <array>
#include <memory>
#include <string>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_layout.hpp>
#include <vector>

namespace troupe::detail {

/// One queue as this process has it mapped: the words that all ends may change, and the payload of every
/// sender, which only that sender maps for writing. All ends of one queue in a process share one.
///
/// The file's size is sealed, so no look into it can fault. A sender's part is allocated when its lane is
/// first used. What stands in it was written by processes of one trust: they can spoil the queue, but not
/// this process's memory. Threads: any; the words are atomic, the rest does not change.
class QueueFile {
 public:
  QueueFile(const QueueFile&) = delete;
  QueueFile& operator=(const QueueFile&) = delete;
  /// Whoever holds descriptors of its items is told: this may have been the last process.
  ~QueueFile();
  /// `invalid` for bounds that make no sense, `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<std::shared_ptr<QueueFile>> create(const QueueOptions& options);
  /// From the descriptors of another process, in the order of descriptors(). `malformed` unless they are a
  /// queue's.
  [[nodiscard]] static Result<std::shared_ptr<QueueFile>> open(std::vector<OwnedFd> descriptors,
                                                               std::string name);

  /// File, items bell, room bells: borrowed.
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }  ///< of its file, borrowed
  static constexpr std::size_t descriptor_count = 2 + queue::room_bells;
  [[nodiscard]] std::array<int, descriptor_count> descriptors() const noexcept;

  [[nodiscard]] queue::Page& page() const noexcept { return *page_; }
  [[nodiscard]] queue::Slot& slot(std::size_t index) const noexcept { return slots_[index]; }
  [[nodiscard]] queue::Lane& lane(std::size_t index) const noexcept { return lanes_[index]; }
  [[nodiscard]] queue::Record& record(std::size_t lane, std::uint64_t number) const noexcept {
    return records_[lane * bounds_.items + (number & (bounds_.items - 1))];
  }

  /// As they were when the queue was made; a copy, so nobody can change them under us.
  struct Bounds {
    std::size_t ends = 0;
    std::size_t senders = 0;  ///< lanes of senders; the quarantine is the lane behind them
    std::size_t items_max = 0;
    std::size_t items = 0;
    std::size_t bytes_max = 0;
    std::size_t ring_bytes = 0;
    std::uint32_t attempts_max = 0;
    Overflow overflow = Overflow::block;

    [[nodiscard]] std::size_t lanes() const noexcept { return senders + 1; }
    [[nodiscard]] std::size_t words_bytes() const noexcept;    ///< page, slots, lanes, whole pages
    [[nodiscard]] std::size_t records_bytes() const noexcept;  ///< of one lane
    [[nodiscard]] std::size_t payload_offset() const noexcept;
    [[nodiscard]] std::size_t file_bytes() const noexcept;
  };
  /// The bounds that a queue's file claims, if they are possible ones and it is as long as they say. Errors
  /// as open's.
  [[nodiscard]] static Result<Bounds> bounds_in(int file);
  [[nodiscard]] const Bounds& bounds() const noexcept { return bounds_; }
  [[nodiscard]] std::size_t quarantine_lane() const noexcept { return bounds_.senders; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const ProcessMark& own_process() const noexcept { return own_; }

  /// A record's payload, for reading; empty if its place or length is impossible.
  [[nodiscard]] std::span<const std::byte> payload(std::size_t lane,
                                                   const queue::Record& record) const noexcept;
  /// A lane's payload for writing, allocated: `exhausted` without memory.
  [[nodiscard]] Result<MemoryMap> map_lane(std::size_t lane) const;

  [[nodiscard]] int items_bell() const noexcept { return items_bell_.get(); }
  [[nodiscard]] int room_bell(std::size_t lane) const noexcept {
    return room_bells_[lane % queue::room_bells].get();
  }
  void ring_all() const noexcept;

 private:
  QueueFile() = default;
  [[nodiscard]] Result<void> map();

  std::string name_{};
  ProcessMark own_{};
  Bounds bounds_{};
  OwnedFd file_{};
  OwnedFd items_bell_{};
  std::array<OwnedFd, queue::room_bells> room_bells_{};
  MemoryMap words_{};    ///< page, slots, lanes and records
  MemoryMap payload_{};  ///< for reading
  ForkGuard guard_{};
  queue::Page* page_ = nullptr;
  queue::Slot* slots_ = nullptr;
  queue::Lane* lanes_ = nullptr;
  queue::Record* records_ = nullptr;
};

}  // namespace troupe::detail
