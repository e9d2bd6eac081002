// SPDX-License-Identifier: MIT
#pragma once
// Internal. The descriptors that belong to items of a queue in shared memory, and who holds them meanwhile.

#include <span>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/queue_file.hpp>
#include <vector>

namespace troupe::detail {

/// An item by its place: in which queue's file, in which lane, as which record.
struct ItemPlace {
  int queue = -1;  ///< borrowed
  std::uint64_t lane = 0;
  std::uint64_t number = 0;
};

// Somebody has to hold an item's descriptors who outlives its sender and its receivers: the program's keeper.
// These are defined where troupe::runtime is linked; without it a value that holds descriptors is refused.

/// Before the item is published. Returns who holds them. `exhausted` while too many wait.
[[gnu::weak]] Result<std::uint32_t> deposit_item(const ItemPlace& place, std::span<const int> descriptors);
/// With the item in hand; as often as it is asked. `refused` where this program's keeper has none.
[[gnu::weak]] Result<std::vector<OwnedFd>> withdraw_item(const ItemPlace& place);
/// Something in that queue is done, or an end has gone: what nobody will ask for any more may be dropped.
[[gnu::weak]] void look_at_items(int queue) noexcept;

/// What a queue's file says to somebody who is no end of it. It is read and not mapped, so whatever stands in
/// it harms nobody.
class QueueGlance {
 public:
  /// `refused`, `malformed` unless it is a queue's file.
  [[nodiscard]] static Result<QueueGlance> create(OwnedFd file);

  enum class Item { coming, there, done };
  [[nodiscard]] Item item(std::uint64_t lane, std::uint64_t number) const;
  /// Whether a living process has a place in it.
  [[nodiscard]] bool has_ends() const;

 private:
  QueueGlance(OwnedFd file, const QueueFile::Bounds& bounds) : file_{std::move(file)}, bounds_{bounds} {}
  [[nodiscard]] std::uint64_t word(std::size_t offset) const;

  OwnedFd file_;
  QueueFile::Bounds bounds_;
};

}  // namespace troupe::detail
