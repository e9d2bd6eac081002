// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <troupe/actors/behavior.hpp>
#include <troupe/actors/ref.hpp>
#include <troupe/actors/self.hpp>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/runtime/exit_status.hpp>
#include <vector>

namespace troupe {

/// How an actor is treated by its supervisor, and how large its memory is.
struct ChildOptions {
  Restart restart = Restart::permanent;
  bool daemon = false;  ///< does not keep its node alive
  StartMethod method = StartMethod::forkserver;
  std::uint32_t restarts_max = 6;               ///< within `window`; one more and it is given up
  std::uint32_t attempts_max = 3;               ///< at one message; one more and it goes to the quarantine
  std::uint64_t mailbox_bytes_max = 16 << 20U;  ///< sum over all its senders
  std::uint64_t message_bytes_max =
      64 << 20U;  ///< of one message to it; above 1 MiB it travels as a blob by itself
  std::uint64_t state_bytes_max =
      64 << 10U;  ///< of kept state and unsent messages, if it has a member `kept`
  Duration window = std::chrono::seconds{10};
  Backoff backoff{};
  Duration ready_within = std::chrono::seconds{30};
  Duration stop_within = std::chrono::seconds{5};
  Duration hung_after =
      Duration::zero();  ///< mail waiting and no progress for so long: killed and replaced; zero: never
};

/// What is known of a child at one moment.
struct ChildInfo {
  std::string name{};
  int pid = 0;                    ///< 0: no process now; for people, never to be signalled: see Node::signal
  std::uint32_t incarnation = 0;  ///< counts its processes from 1
  supervision::ChildState state{};
  bool daemon = false;
  ExitReason last_end{};           ///< of its last process that ended
  std::uint64_t acknowledged = 0;  ///< messages, by the present incarnation
  std::uint64_t duplicates_dropped = 0;
  std::string note{};  ///< its Self::note
};

/// One step in the life of a child, as its supervisor recorded it.
struct Transition {
  TimePoint time{};
  std::string name{};
  int pid = 0;  ///< of the process that the step is about; 0: none
  std::uint32_t incarnation = 0;
  supervision::ChildState from{};
  supervision::ChildState to{};  ///< `clearing` is a death, with its reason
  ExitReason reason{};
};

/// A message that was set aside: its readers did not survive it, or could not read it.
struct Quarantined {
  std::string role{};  ///< that should have handled it
  ErrorKind cause = ErrorKind::poison;
  std::string text{};
  std::uint32_t attempts = 0;
  std::uint64_t type = 0;
  std::vector<std::byte> payload{};
};

/// A one_for_one supervisor and its actors. The supervisor is data in the keeper, so nobody can kill it.
///
/// Everything that was started is stopped, in reverse order, before a Node is gone. Several nodes of a
/// program share its keeper. Any thread may use it.
class Node {
 public:
  /// Starts the program's keeper if it is not there. Throws Failure.
  Node();
  [[nodiscard]] static Result<Node> create();
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;
  ~Node();

  /// Starts an actor and waits until it is ready: its start() has returned. `invalid` if the name is taken or
  /// too long, `refused` with the actor's own words if it did not come up. `arguments` go to its constructor.
  template <class A, class... X>
  [[nodiscard]] Result<Ref<A>> spawn(std::string_view name, ChildOptions options, X&&... arguments) {
    if constexpr (detail::require_actor<A>()) {
      auto entry = detail::entry_id(&detail::run_actor<A, detail::Stored<X>...>);
      if (!entry) return failure(std::move(entry));
      auto call =
          detail::pack_arguments(*entry, std::tuple<detail::Stored<X>...>{std::forward<X>(arguments)...});
      if (!call) return failure(std::move(call));
      if (!detail::KeepsState<A>) options.state_bytes_max = 0;
      auto role = spawn_entry(name, options, *call);
      if (!role) return failure(std::move(role));
      return Ref<A>{*role};
    } else {
      return failure(ErrorKind::refused, "");
    }
  }
  template <class A>
  [[nodiscard]] Result<Ref<A>> spawn(std::string_view name) {
    return spawn<A>(name, ChildOptions{});
  }

  /// The address of a child, whether it is there or not.
  template <class A>
  [[nodiscard]] Ref<A> ref(std::string_view name) const {
    return Ref<A>{detail::role_of_path(id(), name)};
  }

  [[nodiscard]] Result<std::vector<ChildInfo>> children() const;  ///< in start order
  /// Asks it to stop and waits until its process and all that it started are gone. It is not restarted.
  Result<void> stop_child(std::string_view name);
  /// Signals its present process, through the keeper: never a stranger. `down` if there is none now.
  Result<void> signal(std::string_view name, int number);

  /// What has happened since a call returned `next`; 0: all that is remembered. The keeper remembers the last
  /// 4,096 steps, those of other nodes among them.
  struct History {
    std::uint64_t next = 0;
    std::uint64_t forgotten = 0;  ///< steps of any node that came between and are not remembered any more
    std::vector<Transition> transitions{};
  };
  [[nodiscard]] Result<History> history(std::uint64_t since = 0) const;
  [[nodiscard]] Result<std::vector<Quarantined>> quarantine() const;

  /// Waits until the last non-daemon child has ended, or SIGTERM or SIGINT comes; then everything is stopped
  /// in reverse order. Returns the exit code for main: 0, or 1 when the keeper died.
  int wait();
  /// Stops every child in reverse start order, each with its own deadline, and waits for that.
  Result<void> stop();

 private:
  struct State;
  explicit Node(std::unique_ptr<State> state) noexcept;
  [[nodiscard]] supervision::SupervisorId id() const noexcept;
  Result<RoleId> spawn_entry(std::string_view name, const ChildOptions& options,
                             const detail::PackedCall& call);
  [[nodiscard]] Result<supervision::ChildId> child(std::string_view name) const;
  [[nodiscard]] bool has_ended() const;

  std::unique_ptr<State> state_;
};

}  // namespace troupe
