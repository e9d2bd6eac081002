// SPDX-License-Identifier: MIT
#pragma once
// Internal. The records of control.hpp that speak of lanes: how one is made, what travels beside it, what has
// become of its ends, and which message is set aside.

#include <cstddef>
#include <cstdint>
#include <troupe/runtime/control.hpp>
#include <troupe/transport/lane.hpp>

namespace troupe::control {

/// The two purposes of a lane: a reply must pass while ordinary mail waits.
enum class LaneClass : std::uint32_t { mail, reply };
constexpr bool is_valid(LaneClass of) noexcept { return of <= LaneClass::reply; }

struct Attach {
  Kind kind = Kind::attach;
};
/// Descriptors: bell, reader file, notice file, and the state file if `kept_bytes` is not 0.
struct Attached {
  RoleId role = 0;
  std::uint32_t notice = 0;  ///< index of this process's word in the notice file
  std::uint32_t slots = 0;
  std::uint64_t kept_bytes = 0;  ///< of one slot
  supervision::SupervisorId supervisor = 0;
  Incarnation incarnation = 0;
  std::uint32_t attempts_max = 3;
  std::uint64_t message_bytes_max = 0;  ///< of one that comes to this process
  Name name{};
};

/// Makes a lane to `to`, at least so large that a payload of `payload_bytes` fits, larger than `replaces` if
/// that is not 0.
struct Connect {
  Kind kind = Kind::connect;
  LaneClass lane_class = LaneClass::mail;
  RoleId to = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t replaces = 0;
};
enum class ConnectOutcome : std::uint32_t { made, later, closed, exhausted };
constexpr bool is_valid(ConnectOutcome outcome) noexcept { return outcome <= ConnectOutcome::exhausted; }
/// Descriptors if made: writer file, reader's bell, and the reader file if a reader has sealed one.
struct Connection {
  ConnectOutcome outcome = ConnectOutcome::closed;
  LaneSpec lane{};
  std::uint32_t slots = 0;
  Incarnation reader = 0;
  std::uint64_t message_bytes_max = 0;  ///< that the receiver takes
  Reason reason{};                      ///< of a role that has ended
};
struct Connected {
  Kind kind = Kind::connected;
  std::uint64_t lane = 0;
};
struct Drained {
  Kind kind = Kind::drained;
  std::uint64_t lane = 0;
};
struct Broken {
  Kind kind = Kind::broken;
  std::uint64_t lane = 0;
};  ///< its frames break the format: given up

/// Sender → keeper, before it publishes a frame at that offset of its lane: the packet's descriptors belong
/// to it. Answered with an Id, or `exhausted`.
struct Deposit {
  Kind kind = Kind::deposit;
  std::uint64_t lane = 0;
  std::uint64_t offset = 0;
  std::uint64_t apart_bytes = 0;  ///< of the message itself, where it is too large for its frame
  std::uint64_t letter = 0;       ///< not with the packet, but of this LetterDeposit; `closed` if it is gone
};
/// An actor that keeps state → keeper, before it writes down a letter to which the packet's descriptors
/// belong. Numbers grow. Answered with an Id, or `exhausted`.
struct LetterDeposit {
  Kind kind = Kind::letter_deposit;
  std::uint64_t letter = 0;
};
/// These letters have left, or were never committed.
struct LettersGone {
  Kind kind = Kind::letters_gone;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};
/// Reader → keeper, with the frame at that offset in hand. Answered with an Id, the number of its
/// descriptors, and with them; as often as it is asked.
struct Withdraw {
  Kind kind = Kind::withdraw;
  std::uint64_t lane = 0;
  std::uint64_t offset = 0;
};
/// Reader → keeper: a frame with descriptors is done. Without it they would wait for the next look.
struct Acknowledged {
  Kind kind = Kind::acknowledged;
  std::uint64_t lane = 0;
};
/// The same for an item of a queue in shared memory, whose file is the packet's first descriptor; the Id is
/// the keeper's own.
struct ItemDeposit {
  Kind kind = Kind::item_deposit;
  std::uint64_t lane = 0;
  std::uint64_t number = 0;
};
struct ItemWithdraw {
  Kind kind = Kind::item_withdraw;
  std::uint64_t lane = 0;
  std::uint64_t number = 0;
};
/// An end → keeper, with the queue's file: items are done, or the end goes.
struct ItemsDone {
  Kind kind = Kind::items_done;
};
/// Answered with an Id: how many descriptors wait for readers.
struct Deposits {
  Kind kind = Kind::deposits;
};

/// `took`: the change that the last pull gave has arrived and is learnt; otherwise it is offered again.
struct Pull {
  Kind kind = Kind::pull;
  bool took = false;
};
enum class ChangeKind : std::uint32_t {
  none,
  lane_added,      ///< to the reader: descriptors writer file, sender's bell
  lane_final,      ///< to the reader: its sender is dead or has moved on; drop it when it is empty
  reader_changed,  ///< to the sender: descriptor reader file of the role's new incarnation
  role_ended,      ///< to the sender: no incarnation will come any more
  stop,            ///< this process is asked to stop
};
constexpr bool is_valid(ChangeKind kind) noexcept { return kind <= ChangeKind::stop; }
struct Change {
  ChangeKind kind = ChangeKind::none;
  LaneClass lane_class = LaneClass::mail;
  LaneSpec lane{};
  RoleId peer = 0;
  std::uint64_t epoch = 0;
  std::uint32_t slots = 0;
  bool final = false;
  Incarnation reader = 0;
  Reason reason{};
};

/// A message that is set aside; its payload travels as a memory file.
struct Quarantine {
  Kind kind = Kind::quarantine;
  RoleId from = 0;
  std::uint64_t type = 0;
  std::uint64_t sequence = 0;
  std::uint32_t attempts = 0;
  std::uint64_t bytes = 0;
  ErrorKind cause = ErrorKind::poison;
  Line text{};
};

/// Descriptor: the payload. `next` == 0: there is none at that index.
struct QuarantinedRecord {
  std::uint64_t next = 0;
  Name role{};
  Quarantine what{};
};

}  // namespace troupe::control
