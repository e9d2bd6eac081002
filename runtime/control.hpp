// SPDX-License-Identifier: MIT
#pragma once
// Internal. The records between the keeper and its clients (the program and its children), one packet each.
// Both sides are the same build of the same program, so a record is a struct copied as it is; the keeper
// checks its size and every field (record.hpp), and never looks into a payload. What is said about lanes is
// in control_lanes.hpp.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/runtime/exit_report.hpp>
#include <troupe/runtime/exit_status.hpp>
#include <troupe/runtime/function_id.hpp>
#include <troupe/runtime/record.hpp>
#include <troupe/runtime/supervision.hpp>
#include <troupe/transport/address.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <type_traits>
#include <vector>

namespace troupe::control {

inline constexpr int channel_descriptor = 3;               ///< in every process that Troupe starts
inline constexpr std::size_t start_bytes_max = 64 * 1024;  ///< encoded arguments of a start
inline constexpr std::size_t start_descriptors_max = 48;   ///< that they name
static_assert(start_descriptors_max + 6 <= SocketChannel::descriptors_max);       // 6: as of a Start
inline constexpr std::size_t frame_descriptors_max = 48;                          ///< of one message
inline constexpr std::uint64_t message_bytes_default = std::uint64_t{64} << 20U;  ///< the most, unless said
inline constexpr std::size_t name_bytes_max = 63;
inline constexpr std::size_t text_bytes_max = 200;
inline constexpr std::size_t notice_words = 8192;  ///< endpoints of one keeper

/// A string of bounded length inside a record; cut, never overrun.
template <std::size_t bytes_max>
struct Text {
  std::uint16_t length = 0;
  std::array<char, bytes_max> bytes{};

  Text() = default;
  Text(std::string_view text) : length{static_cast<std::uint16_t>(std::min(text.size(), bytes_max))} {
    std::copy_n(text.data(), length, bytes.data());
  }
  [[nodiscard]] std::string_view view() const {
    return {bytes.data(), std::min<std::size_t>(length, bytes_max)};
  }
};

using Name = Text<name_bytes_max>;
using Line = Text<text_bytes_max>;

/// An ExitReason without its allocation.
struct Reason {
  ExitCause cause = ExitCause::normal;
  bool signaled = false;
  bool core_dumped = false;
  int number = 0;  ///< exit code or signal
  Line detail{};

  [[nodiscard]] static Reason of(const ExitReason& reason);
  [[nodiscard]] ExitReason value() const;
};

enum class Kind : std::uint32_t {
  // the keeper to a new process, through the zygote or the channel
  start,
  started,
  // said once, not answered
  hello,
  ready,
  failed,
  connected,
  drained,
  broken,
  acknowledged,
  items_done,
  letters_gone,
  quarantine,
  // answered with one packet
  attach,
  connect,
  deposit,
  withdraw,
  deposits,
  letter_deposit,
  item_deposit,
  item_withdraw,
  pull,
  surroundings,
  add_supervisor,
  add_child,
  child,
  list_children,
  stop_child,
  stop_supervisor,
  signal_child,
  remove_child,
  release_supervisor,
  remove_supervisor,
  supervisor,
  transitions,
  quarantined,
};

/// In front of every packet from a client. An answer carries the number of its question: one that comes late,
/// after its asker has given up, is never taken for the answer to the next.
struct Heading {
  std::uint64_t number = 0;  ///< 0: said, not asked
};

// ---- starting ------------------------------------------------------------------------------------

/// Keeper → zygote or spawned child. Descriptors: channel, folder, 0, 1, 2 (a spawned child: without
/// channel), then the environment's file if `own_environment`, then those of the arguments. The encoded
/// arguments follow the record.
struct Start {
  Kind kind = Kind::start;
  Incarnation incarnation = 0;
  supervision::ChildId child = 0;
  FunctionId entry{};
  std::uint64_t descriptors_soft_max = 0;
  std::uint32_t umask = 022;
  std::uint32_t keeper_pid = 0;
  bool own_environment = false;
  bool ready_at_entry = true;  ///< a plain function is ready when it begins; an actor says so itself
  Name name{};
  std::uint32_t argument_bytes = 0;
  std::uint32_t argument_descriptors = 0;
};

/// Zygote → keeper, with the child's pidfd unless `errnum` is set.
struct Started {
  Kind kind = Kind::started;
  Incarnation incarnation = 0;
  supervision::ChildId child = 0;
  std::int32_t pid = 0;
  std::int32_t errnum = 0;
};

/// Child → keeper, first of all.
struct Hello {
  Kind kind = Kind::hello;
  Incarnation incarnation = 0;
  std::int32_t pid = 0;
  bool ready = false;
};
struct Ready {
  Kind kind = Kind::ready;
};
struct Failed {
  Kind kind = Kind::failed;
  Line text{};
};

// ---- children ------------------------------------------------------------------------------------

/// Descriptors: folder, 0, 1, 2, and the environment's file if `own_environment`. Answered with an Id.
struct Surroundings {
  Kind kind = Kind::surroundings;
  std::uint32_t umask = 022;
  std::uint64_t descriptors_soft_max = 0;
  bool own_environment = false;
};
struct AddSupervisor {
  Kind kind = Kind::add_supervisor;
};
/// The encoded arguments follow the record; the descriptors that they name come with it. Answered with an Id;
/// 0: its surroundings are held no longer, say them again.
struct AddChild {
  Kind kind = Kind::add_child;
  StartMethod method = StartMethod::forkserver;
  supervision::SupervisorId supervisor = 0;
  std::uint64_t surroundings = 0;
  FunctionId entry{};
  ChildPolicy policy{};
  RoleId role = 0;  ///< 0: the keeper makes one up
  std::uint32_t attempts_max = 3;
  std::uint64_t kept_bytes = 0;
  std::uint64_t mailbox_bytes_max = 0;
  std::uint64_t message_bytes_max = 0;
  bool ready_at_entry = true;
  Name name{};
  std::uint32_t argument_bytes = 0;
};
struct Id {
  std::uint64_t id = 0;
};

struct OfChild {  ///< child, stop_child, remove_child; signal_child
  Kind kind = Kind::child;
  std::int32_t signal = 0;
  supervision::ChildId id = 0;
};
struct OfSupervisor {  ///< stop_supervisor, release_supervisor, remove_supervisor, supervisor; list_children
                       ///< from `index`
  Kind kind = Kind::supervisor;
  std::uint32_t index = 0;
  supervision::SupervisorId id = 0;
};
struct SupervisorState {
  bool ended = false;
  std::uint32_t children = 0;
};

/// Descriptor: the pidfd, while there is a process.
struct ChildRecord {
  supervision::ChildId id = 0;
  supervision::ChildState state{};
  Incarnation incarnation = 0;
  std::int32_t pid = 0;
  bool daemon = false;
  std::uint64_t acknowledged = 0;
  std::uint64_t duplicates = 0;
  Name name{};
  Reason reason{};
  Text<lane::note_bytes_max> note{};
  ResourceUsage usage{};  ///< of the incarnation that ended last
};

struct SinceIndex {
  Kind kind = Kind::transitions;
  supervision::SupervisorId supervisor = 0;
  std::uint64_t index = 0;
};
struct TransitionRecord {
  std::int64_t time = 0;
  supervision::ChildId id = 0;
  Incarnation incarnation = 0;
  std::int32_t pid = 0;
  supervision::ChildState from{};
  supervision::ChildState to{};
  Name name{};
  Reason reason{};
};
inline constexpr std::size_t transitions_per_packet = 32;
struct Transitions {
  std::uint64_t next = 0;       ///< ask for this one next
  std::uint64_t forgotten = 0;  ///< steps between the index asked for and the oldest that is still known
  std::uint32_t count = 0;
  std::array<TransitionRecord, transitions_per_packet> records{};
};
/// In front of every answer.
struct Answer {
  std::uint64_t number = 0;
  bool ok = true;
  ErrorKind error = ErrorKind::invalid;
  std::int32_t errnum = 0;
  Line text{};
};

// ---- bytes ---------------------------------------------------------------------------------------

template <class Record>
[[nodiscard]] std::span<const std::byte> bytes_of(const Record& record) {
  static_assert(std::is_trivially_copyable_v<Record>);
  return std::as_bytes(std::span{&record, 1});
}

/// Two records, or a record and bytes, one behind the other.
template <class First>
[[nodiscard]] std::vector<std::byte> packet_of(const First& first, std::span<const std::byte> second,
                                               std::span<const std::byte> third = {}) {
  std::vector<std::byte> packet;
  packet.reserve(sizeof(First) + second.size() + third.size());
  for (const auto part : {bytes_of(first), second, third})
    packet.insert(packet.end(), part.begin(), part.end());
  return packet;
}

}  // namespace troupe::control
