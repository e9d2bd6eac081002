// SPDX-License-Identifier: MIT
#pragma once
// Internal. What an actor that keeps state has sent and its receivers do not have yet.

#include <troupe/actors/endpoint.hpp>

namespace troupe::detail {

/// A message in an outbox: sent in effect when the state it belongs to is committed, copied to its lane after
/// that.
struct Letter {
  RoleId to = 0;
  std::uint32_t lane_class = 0;
  std::uint64_t type = 0;
  std::uint64_t sequence = 0;
  std::vector<std::uint8_t> bytes{};
  std::uint64_t deposit = 0;      ///< the keeper's number for its descriptors; 0: it has none
  std::uint64_t apart_bytes = 0;  ///< of the message itself, where that is too large for a frame

  [[nodiscard]] Address address() const noexcept { return {to, static_cast<control::LaneClass>(lane_class)}; }
};

/// What of an outbox is kept with the state.
struct SentMail {
  struct Numbering {
    RoleId to = 0;
    std::uint64_t last = 0;
  };
  std::vector<Numbering> numbers{};
  std::vector<Letter> letters{};
  std::uint64_t next_deposit = 1;
};

/// The letters of an actor that keeps state: its handlers write them, they are committed with its state, then
/// copied to their lanes.
///
/// Invariant: only committed letters leave, and each receiver gets its letters in the order in which they
/// were written. A receiver without room holds up nobody else's. Used by the actor loop's thread only.
class Outbox {
 public:
  /// `mail` stands in the actor's books, which are written down with its state.
  Outbox(Endpoint& endpoint, SentMail& mail) noexcept : endpoint_{endpoint}, mail_{mail} {}

  /// Takes a message, and numbers it for its receiver. It leaves after the next commit.
  void keep(Letter&& letter);
  /// Hands a letter's descriptors to the keeper before it is taken: they live as long as it. `exhausted`
  /// while too many wait.
  [[nodiscard]] Result<void> deposit(Letter& letter, const DescriptorList& descriptors);
  /// The last incarnation's letters that were not committed are none.
  void forget_uncommitted();
  /// All these letters are committed: now, or by the last incarnation. Those may have left already, and their
  /// receivers will know them by their numbers.
  void committed() noexcept { committed_ = mail_.letters.size(); }

  /// Copies committed letters to their lanes. False: some wait for room, and the bell will ring.
  [[nodiscard]] bool deliver();
  /// Waits until the receiver has every committed letter to it; `full` when there was no room for one until
  /// the deadline.
  [[nodiscard]] Result<void> deliver_to(RoleId to, TimePoint deadline);
  /// Waits for room for the oldest letter, for a minute at most: then it is set aside.
  void wait_for_room();
  /// More than half of a slot of `slot_bytes` is letters. Two actors whose letters wait for each other would
  /// wait for ever if they took no mail meanwhile: so they do, until then.
  [[nodiscard]] bool is_heavy(std::size_t slot_bytes) const noexcept;

 private:
  void set_aside(const Letter& letter, ErrorKind cause, std::string_view text);
  void gone(const Letter& letter);

  Endpoint& endpoint_;
  SentMail& mail_;
  std::size_t committed_ = 0;       ///< that many letters at the front may leave
  TimePoint oldest_until_ = never;  ///< when the oldest letter is set aside; never: it was not waited for yet
};

}  // namespace troupe::detail
