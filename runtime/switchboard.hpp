// SPDX-License-Identifier: MIT
#pragma once
// Internal to the keeper: who may talk to whom, and the memory they talk through.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <troupe/runtime/control_lanes.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <vector>

namespace troupe {

/// The mailboxes of a keeper: every role's reader file and bell, and every lane between two roles.
///
/// Invariant: a role's memory outlives its incarnations. A word has one writer at a time;
/// it is handed to the next incarnation only after the death of the last one was confirmed
/// (process_ended), and then always in a new file that begins with the old words.
/// Owner: the keeper's single thread. Runs no user code, reads no payload.
class Switchboard {
 public:
  static constexpr std::size_t undrained_epochs_max = 2;  ///< of one sender and reader, beyond the one in use

  struct RoleSpec {
    RoleId role = 0;
    std::uint64_t kept_bytes = 0;         ///< of one slot of kept state; 0: keeps none
    std::uint64_t mailbox_bytes_max = 0;  ///< sum of the capacities of lanes that end here
    std::uint64_t message_bytes_max = control::message_bytes_default;
  };

  [[nodiscard]] static Result<Switchboard> create();

  /// Makes a role's bell, reader file and state file. `invalid` if the role is there already, `exhausted`
  /// beyond the notice words.
  [[nodiscard]] Result<void> add(const RoleSpec& spec);
  /// Forgets a role that has ended, as soon as everyone who sent to it has been told.
  void remove(RoleId role);

  /// Before an incarnation starts: a new reader file that goes on where the last one stopped. Senders are
  /// told.
  [[nodiscard]] Result<void> process_starting(RoleId role, Incarnation incarnation);
  /// After its death was confirmed: its lanes get no more frames, and their readers are knocked.
  void process_ended(RoleId role);
  /// No incarnation will come any more: senders are told why.
  void role_ended(RoleId role, const control::Reason& reason);

  /// Level-triggered: the process pulls Change::stop until it ends.
  void ask_to_stop(RoleId role);
  /// Something that the role's process waits for has changed: its word moves and its bell rings.
  void notify(RoleId role);

  struct Given {
    std::vector<int> descriptors{};  ///< borrowed: sent before anything else happens
  };
  [[nodiscard]] Result<control::Attached> attach(RoleId role, Given& given);
  [[nodiscard]] Result<control::Connection> connect(RoleId from, const control::Connect& request,
                                                    Given& given);
  /// The sender has mapped and sealed its side: now the reader may learn of the lane.
  void connected(RoleId from, std::uint64_t lane);
  void drained(RoleId reader, std::uint64_t lane);
  /// The reader has given it up; what lies in it is no mail any more.
  void broken(RoleId reader, std::uint64_t lane);
  /// Keeps descriptors for the reader of the frame that its sender is about to publish. `exhausted` beyond a
  /// bound for each sender and one for all, and while the reader's mailbox is full of large messages.
  [[nodiscard]] Result<void> deposit(RoleId from, const control::Deposit& request,
                                     std::vector<OwnedFd> descriptors);
  /// Keeps descriptors for a letter that its sender is about to write down. `exhausted` as above.
  [[nodiscard]] Result<void> deposit_letter(RoleId from, const control::LetterDeposit& request,
                                            std::vector<OwnedFd> descriptors);
  void letters_gone(RoleId from, const control::LettersGone& which);
  [[nodiscard]] control::Id withdraw(RoleId reader, const control::Withdraw& request, Given& given) const;
  /// The reader has acknowledged a frame to which descriptors belong.
  void acknowledged(RoleId reader, std::uint64_t lane);
  /// How many wait for readers.
  [[nodiscard]] std::size_t deposits() const;
  /// The next thing that this role's process does not know yet. `took`: it has learnt the last one; else that
  /// is offered again.
  [[nodiscard]] control::Change pull(RoleId role, bool took, Given& given);

  /// Frames and commits that the present incarnation has finished; moves while there is progress.
  [[nodiscard]] std::uint64_t steps(RoleId role) const;
  /// Whether published mail waits to be acknowledged; replies are taken when their asker next asks.
  [[nodiscard]] bool has_mail(RoleId role) const;
  [[nodiscard]] lane::Activity activity(RoleId role) const;
  /// Whether the incarnation that ended last did any work.
  [[nodiscard]] bool made_progress(RoleId role) const;
  /// Fills in acknowledged, duplicates and note.
  void describe(RoleId role, control::ChildRecord& record) const;

 private:
  using Held = std::shared_ptr<const std::vector<OwnedFd>>;
  struct Deposit {
    std::uint64_t offset = 0;  ///< of the frame that names them
    std::uint64_t apart_bytes = 0;
    Held descriptors{};
  };
  struct Lane {
    std::uint64_t id = 0;
    RoleId from = 0;
    RoleId to = 0;
    control::LaneClass lane_class = control::LaneClass::mail;
    std::uint64_t epoch = 0;
    LaneSpec spec{};
    OwnedFd file{};
    bool connected = false;      ///< sealed by its sender
    bool final = false;          ///< gets no more frames
    bool broken = false;         ///< given up by its reader
    std::uint64_t replaces = 0;  ///< the lane that becomes final once this one is connected
    bool reader_has_it = false;  ///< the present incarnation of the reader was told
    bool final_told = false;
    Incarnation reader_told = 0;  ///< the incarnation whose reader file the sender has; 0: none
    std::vector<Deposit> deposits{};
  };
  struct Role {
    RoleSpec spec{};
    std::uint32_t notice = 0;
    OwnedFd bell{};
    OwnedFd reader_file{};
    OwnedFd state_file{};
    std::unique_ptr<ReaderView> view{};
    Incarnation incarnation = 0;
    bool alive = false;
    bool attached = false;  ///< the present reader file was given away: the next incarnation needs a new one
    bool sealed = false;    ///< it can have no other writer any more: now senders may have it
    bool stop = false;
    bool stop_told = false;
    bool ended = false;
    bool removed = false;
    control::Reason reason{};
    control::Change offered{};   ///< by the last pull; none: nothing to confirm
    std::set<RoleId> refused{};  ///< senders that wait for room for their lanes here
    std::vector<bool> slot_used{};
    std::vector<std::uint64_t> in{};          ///< lanes that end here
    std::vector<std::uint64_t> out{};         ///< lanes that begin here
    std::map<std::uint64_t, Held> letters{};  ///< that it has written down and not copied to a lane yet
  };

  Role* find(RoleId role);
  [[nodiscard]] const Role* find(RoleId role) const;
  Lane* find_lane(std::uint64_t lane);
  Result<void> make_reader_file(Role& role);
  Result<Lane*> make_lane(Role& sender, RoleId from, Role& reader, const control::Connect& request);
  [[nodiscard]] std::uint64_t capacity_for(const control::Connect& request) const;
  [[nodiscard]] std::uint64_t published(const Lane& lane) const;
  [[nodiscard]] bool is_drained(const Lane& lane, const Role& reader) const;
  void retire(Lane& lane);
  void free_lane(std::uint64_t lane);
  void erase_if_unused(RoleId role);
  void notify(Role& role);

  // switchboard_deposits.cpp
  [[nodiscard]] static std::size_t deposits(const Lane& lane);
  [[nodiscard]] std::size_t deposits(const Role& sender);
  [[nodiscard]] Result<void> check_bounds(const Role& sender, std::size_t more);
  void collect(Lane& lane);
  void collect_all_of(const Role& role);
  Result<void> check_apart(const Role& reader, std::uint64_t bytes);

  // switchboard_news.cpp, as all that is told of it: pull(), and how a role is judged from outside
  void publish_reader_file(Role& role);
  control::Change next_change(Role& role, Given& given);
  void confirm(Role& role);

  OwnedFd notice_file_{};
  MemoryMap notice_map_{};
  std::vector<bool> notice_used_{};
  std::map<RoleId, Role> roles_{};
  std::map<std::uint64_t, Lane> lanes_{};
  std::uint64_t next_lane_ = 1;
};

}  // namespace troupe
