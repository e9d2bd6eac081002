// SPDX-License-Identifier: MIT
#pragma once
// Internal to the keeper: descriptors of items that lie in queues.

#include <map>
#include <memory>
#include <troupe/runtime/control_lanes.hpp>
#include <troupe/transport/queue_items.hpp>

namespace troupe {

/// What belongs to the items of queues in shared memory.
///
/// A deposit lives as long as its item: until that is done or can never come, or the queue has no end left.
/// Looked after whenever somebody says that something is done, or a process has ended; there is no timer.
/// Owner: the keeper's single thread. Queues' files are read and never mapped.
class QueueDeposits {
 public:
  /// Gone once the process that it stands for is.
  using Presence = std::weak_ptr<const void>;

  /// `descriptors`: the queue's file, then those of the item. `exhausted` beyond a bound for each sender and
  /// one for all.
  [[nodiscard]] Result<void> deposit(const control::ItemDeposit& request, const Presence& sender,
                                     std::vector<OwnedFd> descriptors);
  /// Borrowed; none that are not held.
  [[nodiscard]] std::vector<int> withdraw(const control::ItemWithdraw& request, int queue) const;
  void look(int queue);
  void look_at_all();
  [[nodiscard]] std::size_t size() const;  ///< descriptors

 private:
  struct Deposit {
    std::uint64_t lane = 0;
    std::uint64_t number = 0;
    Presence sender{};
    std::vector<OwnedFd> descriptors{};
  };
  struct Queue {
    detail::QueueGlance glance;
    std::vector<Deposit> deposits{};
  };
  using Key = std::pair<std::uint64_t, std::uint64_t>;  ///< of a file: device and number
  using Queues = std::map<Key, Queue>;
  [[nodiscard]] static Key key_of(int file);
  static void collect(Queue& queue);
  [[nodiscard]] Result<Queue*> find_or_add(OwnedFd file);
  [[nodiscard]] Result<void> check_room(const Presence& sender, std::size_t more) const;

  Queues queues_{};
};

}  // namespace troupe
