// SPDX-License-Identifier: MIT
#pragma once
// Internal. The supervision tree as data, and its rules as a pure function.

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/runtime/exit_status.hpp>
#include <troupe/runtime/restart_policy.hpp>
#include <troupe/transport/clock.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace troupe::supervision {

using ChildId = std::uint64_t;       ///< never 0, never reused
using SupervisorId = std::uint64_t;  ///< never 0, never reused

// ---- the tree ---------------------------------------------------------------------------------

enum class ChildState : std::uint8_t {
  starting,     ///< the start action is out; neither ready nor dead yet
  running,      ///< said ready
  stopping,     ///< asked to stop, or being killed; process still there
  clearing,     ///< process reaped (or it never came to be); what it started is being ended
  backing_off,  ///< no process; waits for its next start
  stopped,      ///< no process and none to come: ended, given up, or stopped by request
};
constexpr bool is_valid(ChildState state) noexcept { return state <= ChildState::stopped; }

/// Whoever adds a child sets `id`, `supervisor`, `parent` and `policy`; `step` alone writes all the rest.
struct Child {
  ChildId id = 0;
  SupervisorId supervisor = 0;
  ChildId parent = 0;  ///< the child whose process asked for this one, and with which it ends; 0: the program
  ChildPolicy policy{};
  ChildState state = ChildState::stopped;
  std::uint32_t incarnation = 0;     ///< 1 for the first process
  std::uint32_t idle_ends = 0;       ///< incarnations in a row that acknowledged nothing
  std::deque<TimePoint> restarts{};  ///< within the window
  TimePoint deadline = never;        ///< of the present state: ready, stop, back-off
  bool stop_requested = false;       ///< by a person, a supervisor's stop, or its parent's end: no restart
  bool judged_hung = false;
  bool judged_late = false;           ///< killed because it was not ready in time
  bool terminate_sent = false;        ///< the middle rung of the stop ladder
  bool cleared = false;               ///< while clearing: nothing that the dead process started is left
  std::vector<ChildId> nested{};      ///< asked for by its process and not stopped yet, in start order
  std::vector<SupervisorId> owned{};  ///< made by its process and not ended yet
  ExitReason reason{};                ///< of the last end
};

/// When a supervisor ends without being asked to.
enum class Lifetime : std::uint8_t {
  while_needed,   ///< with its last non-daemon child, if it ever had one
  until_stopped,  ///< never
};

/// A one_for_one supervisor: its children in start order. As with a child, `step` alone writes it.
struct Supervisor {
  SupervisorId id = 0;
  ChildId owner = 0;  ///< the child whose process made it, 0: the program
  std::vector<ChildId> children{};
  bool stopping = false;  ///< children are being stopped in reverse order, one after the other
  bool ended = false;     ///< every child is stopped and the stop (or the natural end) is complete
  Lifetime lifetime = Lifetime::while_needed;
  std::vector<ChildId> live{};  ///< those of `children` that are not stopped, in start order
  std::size_t live_non_daemons = 0;
  bool had_non_daemon = false;
};

struct Tree {
  std::map<SupervisorId, Supervisor> supervisors{};
  std::map<ChildId, Child> children{};
  /// Of all children: an index, so that thousands of them cost no scan. `step` alone writes it.
  std::set<std::pair<TimePoint, ChildId>> deadlines{};
  /// Of the jitter; data, so that a run can be repeated. Whoever makes a tree may seed it.
  std::uint64_t random_state = 0x9E3779B97F4A7C15U;
};

// ---- what happens -----------------------------------------------------------------------------
// clang-format off

struct AddSupervisor { SupervisorId id = 0; ChildId owner = 0; Lifetime lifetime = Lifetime::while_needed; };
/// Changes when a supervisor ends by itself: at once if it is to end when not needed, and is not.
struct SetLifetime { SupervisorId id = 0; Lifetime lifetime = Lifetime::while_needed; };
/// id, supervisor, parent, policy set; is started at once. Where that may not be (the supervisor stops or is
/// unknown, the parent's process is not there), it is answered at once with RoleEnded (shutdown).
struct AddChild { Child child{}; };
struct Ready { ChildId id = 0; std::uint32_t incarnation = 0; };
/// No process came into being, or none that was seen.
struct StartFailed { ChildId id = 0; std::uint32_t incarnation = 0; ExitReason reason{}; };
/// The process was reaped. `acknowledged`: it acknowledged at least one message, or moved kept state.
/// `detail`: what it said of its own failure.
struct Ended {
  ChildId id = 0;
  std::uint32_t incarnation = 0;
  ExitStatus status{};
  bool acknowledged = false;
  std::string detail{};
};
/// Nothing that this incarnation started is left.
struct Cleared { ChildId id = 0; std::uint32_t incarnation = 0; };
/// The keeper saw mail and no progress for `hung_after`.
struct Hung { ChildId id = 0; std::uint32_t incarnation = 0; };
struct StopChild { ChildId id = 0; };              ///< by request; idempotent
struct StopSupervisor { SupervisorId id = 0; };    ///< reverse order, each waited for; idempotent
struct RemoveChild { ChildId id = 0; };            ///< a stopped child is forgotten; no effect otherwise
struct RemoveSupervisor { SupervisorId id = 0; };  ///< an ended one is forgotten with its children; ditto
struct Tick {};                                    ///< time has passed

using Event = std::variant<AddSupervisor, SetLifetime, AddChild, Ready, StartFailed, Ended, Cleared, Hung,
                           StopChild, StopSupervisor, RemoveChild, RemoveSupervisor, Tick>;

// ---- what is to be done ------------------------------------------------------------------------

// In the order given. AskToStop and Signal of a child whose Start is not answered yet hold for the process
// that is about to come: whoever carries them out keeps them until it is there, or says StartFailed.

struct Start { ChildId id = 0; std::uint32_t incarnation = 0; };
struct AskToStop { ChildId id = 0; };  ///< tell the process; it ends by itself
/// Through the pidfd: SIGTERM, followed by a SIGCONT so that a stopped process gets it, or SIGKILL.
struct Signal { ChildId id = 0; int number = 0; };
/// End everything the dead incarnation started; answer with Cleared. Nested children are not meant: they are
/// told to stop by actions of their own.
struct Clear { ChildId id = 0; std::uint32_t incarnation = 0; };
/// One event of the ring that tests, the log and the tool read. `reason` is of the last end, and has a meaning
/// where `to` is clearing, backing_off or stopped.
struct Transition {
  ChildId id = 0;
  std::uint32_t incarnation = 0;
  ChildState from{};
  ChildState to{};
  ExitReason reason{};
};
/// The child reached `stopped`: whoever asked it is answered for the dead.
struct RoleEnded { ChildId id = 0; ExitReason reason{}; };
/// Every child is stopped, by request or because the last non-daemon one has ended. Said once.
struct SupervisorEnded { SupervisorId id = 0; };
// clang-format on

using Action = std::variant<Start, AskToStop, Signal, Clear, Transition, RoleEnded, SupervisorEnded>;

/// Applies one event. Pure: reads no clock, does no I/O, logs nothing; the same tree, event and
/// `now` give the same actions. Events about an incarnation that is not the present one, or about
/// an unknown id, change nothing. The rules are those of docs/supervision.md.
[[nodiscard]] std::vector<Action> step(Tree& tree, const Event& event, TimePoint now);

/// When the next Tick is due; `never` if nothing waits for time.
[[nodiscard]] inline TimePoint next_deadline(const Tree& tree) noexcept {
  return tree.deadlines.empty() ? never : tree.deadlines.begin()->first;
}

}  // namespace troupe::supervision
