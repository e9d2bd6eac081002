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
  /// The end is no more. What it had in hand goes back; what its program has not seen (a later want than
  /// `seen`) as if it had never been taken.
  void remove(EndId end, std::uint64_t seen);
  [[nodiscard]] bool has(EndId end) const { return ends_.contains(end); }
  void close() { closed_ = true; }

  /// False for a put beyond the bounds. One that is in already is done once.
  [[nodiscard]] bool put(EndId sender, std::uint64_t number, std::uint64_t type,
                         std::span<const std::byte> bytes);
  /// Drops what the sender has put and nobody has in hand: the oldest until there is room, or all.
  void make_room(EndId sender, std::uint64_t bytes, bool all);
  void note_dropped(EndId sender, std::uint64_t dropped, std::uint64_t full);
  struct Freed {
    std::uint64_t items = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const Freed&, const Freed&) = default;
  };
  [[nodiscard]] Freed freed(EndId sender) const;

  struct Offer {
    std::uint64_t ticket;
    std::uint64_t type;
    std::uint32_t attempt;
    std::span<const std::byte> bytes;
  };
  /// The oldest that nobody has in hand, or the one that this want was given before.
  [[nodiscard]] std::optional<Offer> take(EndId receiver, std::uint64_t want);
  /// Of what is not in this receiver's hand nothing comes of it.
  void settle(EndId receiver, std::uint64_t ticket, troupe::detail::Settlement settlement);
  /// Nothing will come for this receiver any more.
  [[nodiscard]] bool ended_for(EndId receiver) const;

  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] std::vector<Holder> holders() const;
  [[nodiscard]] const QueueCounts& counts() const { return counts_; }
  [[nodiscard]] const std::deque<Quarantined>& quarantine() const { return quarantine_; }

 private:
  struct End {
    wire::QueueRole role{};
    ProcessMark process{};
    std::uint64_t last_put = 0;
    std::uint64_t items = 0;  ///< of its own in the queue
    std::uint64_t bytes = 0;
    Freed freed{};
    std::uint64_t dropped = 0;
    std::uint64_t full = 0;
    std::set<std::uint64_t> in_hand{};  ///< tickets
  };
  struct Item {
    EndId sender = 0;
    EndId holder = 0;  ///< 0: nobody
    std::uint64_t want = 0;
    std::uint64_t type = 0;
    std::uint32_t attempts = 0;
    Bytes bytes{};
  };
  using Items = std::map<std::uint64_t, Item>;  ///< by ticket: oldest first

  [[nodiscard]] std::size_t senders() const;
  [[nodiscard]] bool has_room(const End& sender, std::uint64_t bytes) const;
  Items::iterator erase(Items::iterator item);
  void put_back(Items::iterator item);
  void put_aside(Items::iterator item, Quarantined::Cause cause);

  const QueueOptions options_;
  std::map<EndId, End> ends_{};
  std::map<std::uint64_t, EndId> expected_{};  ///< token → who answers for it
  Items items_{};
  std::set<std::uint64_t> ready_{};  ///< tickets
  std::uint64_t tickets_ = 0;
  std::deque<Quarantined> quarantine_{};
  QueueCounts counts_{};
  bool closed_ = false;
};

}  // namespace troupe::zmq::detail
