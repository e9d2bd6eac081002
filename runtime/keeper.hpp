// SPDX-License-Identifier: MIT
#pragma once
// Internal. The keeper: the one small process that owns a program's children, mailboxes and restart
// decisions.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <troupe/runtime/chronicle.hpp>
#include <troupe/runtime/control_lanes.hpp>
#include <troupe/runtime/event_loop.hpp>
#include <troupe/runtime/queue_deposits.hpp>
#include <troupe/runtime/reaped.hpp>
#include <troupe/runtime/supervision.hpp>
#include <troupe/runtime/switchboard.hpp>
#include <troupe/transport/socket_channel.hpp>

namespace troupe::detail {

/// Keeper → program, once, with the keeper's pidfd.
struct KeeperHello {
  std::int32_t pid = 0;
  bool same_build = false;
  control::Line
      threads{};  ///< ids of threads that static constructors have started; empty: the zygote may fork
};

/// The whole life of the process that launch_keeper() makes. Leaves when the program has ended or closed
/// its channel, after everything that was started has been stopped in order.
[[noreturn]] void run_keeper();

inline constexpr RoleId program_role = 1;
inline constexpr supervision::SupervisorId process_supervisor =
    1;  ///< of plain Process objects that the program starts

/// Owns every child (pid and pidfd), every mailbox's memory, the names and the restart decisions.
///
/// One thread, one loop of sockets, signals and deadlines; runs no user code and decodes no user type.
/// The decisions are supervision::step's; this class carries them out.
class Keeper {
 public:
  Keeper(SocketChannel program, OwnedFd program_pidfd, Switchboard board, EventLoop loop);
  [[nodiscard]] Result<void> begin();
  /// Returns when everything has ended.
  void run();

 private:
  /// Held by the children that have them, and until then by the client that has said them: a pipe among the
  /// descriptors must end for its reader with the last of those children.
  struct Surroundings {
    control::Surroundings what{};
    std::vector<OwnedFd> descriptors{};
    bool end_is_awaited = false;  ///< by the reader of a pipe or socket
  };
  /// A process's end of the control channel.
  struct Client {
    SocketChannel channel{};
    RoleId role = 0;
    supervision::ChildId child = 0;  ///< 0: the program
    Incarnation incarnation = 0;
    std::uint64_t question = 0;  ///< number of the one that is being served
    std::shared_ptr<const int> presence = std::make_shared<const int>();  ///< gone once it is dropped
    bool lost = false;                                   ///< could not be answered: to be dropped
    std::shared_ptr<const Surroundings> surroundings{};  ///< the last that it has said
  };
  struct Process {
    control::AddChild request{};
    std::shared_ptr<const Surroundings> surroundings{};  ///< none once it has ended
    std::vector<std::byte> arguments{};
    std::vector<OwnedFd> argument_descriptors{};  ///< held as long as it may be started (again)
    RoleId role = 0;
    supervision::ChildId parent = 0;
    Incarnation incarnation = 0;
    int pid = 0;  ///< 0: none, or not known yet
    OwnedFd pidfd{};
    int channel = -1;            ///< key into clients_
    bool start_pending = false;  ///< asked of the zygote, no answer yet
    TimePoint start_asked{};
    int zygote = 0;       ///< the one that was asked
    int owed_signal = 0;  ///< ordered while the start was pending
    int hello_pid = 0;    ///< what it said of itself; 0: nothing yet
    bool said_ready = false;
    std::string failed_text{};
    ResourceUsage usage{};  ///< of the incarnation that ended last
    std::uint64_t watched_steps = 0;
    bool watched_busy = false;
    TimePoint watched_since{};  ///< the first look that found this step in hand
  };
  /// A dead incarnation whose family is being ended. Strays are our own children, so their numbers are theirs
  /// until we reap them.
  struct Clearing {
    supervision::Clear what{};
    std::string role{};         ///< the assignment that its processes carry
    TimePoint unclear_until{};  ///< from then on a process without an environment is nobody's
    std::set<int> strays{};     ///< that were found to be its own: what is dying cannot be asked any more
  };

  // keeper.cpp: the loop, and the decisions that it carries out
  void turn(TimePoint deadline);
  void apply(const supervision::Event& event);
  void carry_out(const supervision::Action& action);
  void ask_to_stop(supervision::ChildId id);
  void signal_process(supervision::ChildId id, int number);
  void record(const supervision::Transition& action);
  void child_ended(const supervision::RoleEnded& action);
  void forget_family(supervision::ChildId parent);
  void judge_progress();
  void plan_next_look();
  void end_everything();
  void kill_the_rest();

  // keeper_processes.cpp: from a start to the last of what it left behind
  Result<void> fork_zygote();
  void zygote_speaks();
  void look_after_zygote();
  [[nodiscard]] TimePoint zygote_deadline() const;
  void start(const supervision::Start& action);
  [[nodiscard]] Result<control::Start> start_record(const Process& process, supervision::ChildId id) const;
  Result<void> start_process(Process& process, supervision::ChildId id);
  Result<void> ask_zygote(Process& process, std::span<const std::byte> packet,
                          std::span<const int> descriptors);
  void start_again(Process& process, supervision::ChildId id);
  void start_failed(Process& process, supervision::ChildId id, const Error& error);
  void process_known(supervision::ChildId id, int pid, OwnedFd pidfd);
  void reap();
  void process_gone(supervision::ChildId id, const Reaped& reaped);
  void clear(const supervision::Clear& action);
  void finish_clears();
  [[nodiscard]] bool holds_up(Clearing& clearing, int pid);

  // keeper_requests.cpp: what clients ask for
  int add_client(SocketChannel channel, RoleId role, supervision::ChildId child, Incarnation incarnation);
  void drop_client(int key);
  void client_speaks(int key);
  void refuse_unread(Client& client, Error error);
  void lose_client(int key);
  void serve(Client& client, std::span<const std::byte> packet, std::vector<OwnedFd> descriptors);
  void serve_told(Client& client, control::Kind kind, std::span<const std::byte> packet,
                  std::vector<OwnedFd>& descriptors);
  template <class Record>
  void answer(Client& client, const Record& record, std::span<const int> descriptors = {});
  void refuse(Client& client, const Error& error);
  void send_answer(Client& client, std::span<const std::byte> packet, std::span<const int> descriptors);
  template <class Record>
  void answer(Client& client, const Result<Record>& result, std::span<const int> descriptors = {});

  // keeper_children.cpp: children as they are asked for
  Result<control::Id> add_surroundings(Client& client, std::span<const std::byte> packet,
                                       std::vector<OwnedFd> descriptors);
  Result<control::Id> add_supervisor(const Client& client);
  Result<control::Id> add_child(Client& client, std::span<const std::byte> packet,
                                std::vector<OwnedFd> descriptors);
  Result<control::ChildRecord> describe(supervision::ChildId id, int& pidfd) const;
  Result<control::ChildRecord> list(const control::OfSupervisor& request, int& pidfd) const;
  Result<void> signal_child(const control::OfChild& request);
  void remove_child(supervision::ChildId id);
  void remove_supervisor(supervision::SupervisorId id);
  void keep_aside(const Client& client, const control::Quarantine& what, std::vector<OwnedFd>& descriptors);
  [[nodiscard]] RoleId role_of(supervision::ChildId child) const;

  EventLoop loop_;
  std::vector<std::byte> buffer_;
  Switchboard board_;
  QueueDeposits queue_deposits_{};
  OwnedFd program_pidfd_;
  SocketChannel zygote_{};
  int zygote_pid_ = 0;
  OwnedFd signals_{};

  supervision::Tree tree_{};
  std::map<supervision::ChildId, Process> processes_{};
  std::map<int, supervision::ChildId> by_pid_{};
  std::map<int, std::shared_ptr<Client>> clients_{};  ///< key: the channel's descriptor
  std::map<std::uint64_t, std::weak_ptr<const Surroundings>> surroundings_{};
  std::deque<Reaped> early_exits_{};  ///< reaped before their start was answered
  std::vector<Clearing> clears_{};
  TimePoint clears_again_ = never;  ///< when a process that was unclear is looked at again
  Chronicle chronicle_{};
  std::uint64_t next_id_ = 2;  ///< of children, supervisors and surroundings alike
  std::deque<supervision::Event> events_{};
  bool applying_ = false;
  TimePoint next_look_ = never;  ///< when progress is judged again
  std::vector<supervision::ChildId>
      leavers_{};  ///< whose incarnation has ended: what it had asked for is forgotten
  bool ending_ = false;
};

}  // namespace troupe::detail
