// SPDX-License-Identifier: MIT
#pragma once
// Internal. What is in a queue and who has it in hand. Pure: no socket, no clock, no thread.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <troupe/transport/queue_end.hpp>
#include <troupe/zmq/stream.hpp>
#include <troupe/zmq/wire.hpp>
#include <vector>

namespace troupe::zmq::detail {

using EndId = std::uint64_t;

class Ledger {
 public:
  explicit Ledger(const QueueOptions& options) : options_{options} {}

  /// `exhausted` beyond the bounds, `closed` for a sender that nobody waits for any more, `refused` for a
  /// token that was not given.
  [[nodiscard]] Result<void> admit(EndId end, wire::QueueRole role, const ProcessMark& process,
                                   std::uint64_t token);
  /// Counts a sender that is to come, answered for by `end`, until it has come with this token.
  [[nodiscard]] Result<void> expect_sender(EndId end, std::uint64_t token);
  /// The end has left, with no item begun beyond this one: what it had in hand goes back, those beyond as if
  /// they had never been taken.
  void remove(EndId end, std::uint64_t begun);
  /// The end is no more, and could not say what it had begun last. The first that lay ahead of it are in
  /// doubt (wire::doubtful_max): they count as begun, and come alone next time, so that whichever of them
  /// killed it is known from then on. Doubt alone brings nothing to the quarantine.
  void remove_dead(EndId end);
  [[nodiscard]] bool has(EndId end) const { return ends_.contains(end); }
  void close() { closed_ = true; }

  /// False for a put beyond the bounds.
  [[nodiscard]] bool put(EndId sender, std::uint64_t type, std::span<const std::byte> bytes);
  /// Drops what the sender has put and nobody has in hand: the oldest until there is room, or all.
  void make_room(EndId sender, std::uint64_t bytes, bool all);
  void note_dropped(EndId sender, std::uint64_t dropped, std::uint64_t full);
  struct Freed {
    std::uint64_t items = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const Freed&, const Freed&) = default;
  };
  [[nodiscard]] Freed freed(EndId sender) const;

  // What a receiver is given counts from 1; what it has not begun lies ahead of it.
  [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
  [[nodiscard]] std::size_t ahead(EndId receiver) const { return ends_.at(receiver).ahead; }
  /// Whether the oldest that nobody has in hand may lie ahead of it too, of at most so many.
  [[nodiscard]] bool may_give(EndId receiver, std::uint64_t window) const;
  void give(EndId receiver, std::uint64_t want);
  /// False for what it was never given.
  [[nodiscard]] bool begin(EndId receiver, std::uint64_t number);
  /// What lies ahead of it goes back as if it had never been taken.
  void give_back_ahead(EndId receiver);

  struct Offer {
    std::uint64_t number;
    std::uint64_t ticket;
    std::uint32_t attempt;
    wire::ItemHeader header;
    std::span<const std::byte> bytes;
  };
  /// The first beyond `number` that it has in hand.
  [[nodiscard]] std::optional<Offer> next_in_hand(EndId receiver, std::uint64_t number) const;
  /// Of what is not in this receiver's hand nothing comes of it.
  void settle(EndId receiver, std::uint64_t ticket, troupe::detail::Settlement settlement);
  /// Nothing will come for this receiver any more.
  [[nodiscard]] bool ended_for(EndId receiver) const;

  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] std::vector<Holder> holders() const;
  [[nodiscard]] const QueueCounts& counts() const { return counts_; }
  [[nodiscard]] const std::deque<QuarantinedItem>& quarantine() const { return quarantine_; }

 private:
  struct End {
    wire::QueueRole role{};
    ProcessMark process{};
    std::uint64_t items = 0;  ///< of its own in the queue
    std::uint64_t bytes = 0;
    Freed freed{};
    std::uint64_t dropped = 0;
    std::uint64_t full = 0;
    std::uint64_t given = 0;
    std::uint64_t begun = 0;
    std::size_t ahead = 0;  ///< in hand and not begun
    std::uint64_t ahead_bytes = 0;
    bool alone = false;                                ///< the last one given is to come alone
    std::map<std::uint64_t, std::uint64_t> in_hand{};  ///< by number: tickets
  };
  struct Item {
    EndId sender = 0;
    EndId holder = 0;          ///< 0: nobody
    std::uint64_t number = 0;  ///< of what that was given
    std::uint64_t want = 0;
    std::uint64_t type = 0;
    std::uint32_t attempts = 0;
    bool doubtful = false;
    Bytes bytes{};
  };
  using Items = std::map<std::uint64_t, Item>;  ///< by ticket: oldest first

  [[nodiscard]] std::size_t senders() const;
  [[nodiscard]] bool has_room(const End& sender, std::uint64_t bytes) const;
  Items::iterator erase(Items::iterator item);
  void leave_hand(Items::iterator item);
  void put_back(Items::iterator item);
  void put_aside(Items::iterator item, QuarantinedItem::Cause cause);

  const QueueOptions options_;
  std::map<EndId, End> ends_{};
  std::map<std::uint64_t, EndId> expected_{};  ///< token → who answers for it
  Items items_{};
  std::set<std::uint64_t> ready_{};  ///< tickets
  std::uint64_t tickets_ = 0;
  std::deque<QuarantinedItem> quarantine_{};
  QueueCounts counts_{};
  bool closed_ = false;
};

}  // namespace troupe::zmq::detail
