// SPDX-License-Identifier: MIT
#include <troupe/runtime/keeper.hpp>

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <sys/pidfd.h>
}

#include <algorithm>
#include <csignal>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/launcher.hpp>
#include <troupe/runtime/strays.hpp>
#include <troupe/runtime/zygote.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

constexpr auto end_within = 5s;  ///< after the program's end: orderly stops, then SIGKILL
constexpr auto last_reap_within = 5s;

/// Raises the soft limit of descriptors to the hard one. Children get the program's own back.
void raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<OwnedFd> child_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGXFSZ, SIG_IGN);  // a limited file size is an error of the one call, not the keeper's end
  return owned(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

}  // namespace

Keeper::Keeper(SocketChannel program, OwnedFd program_pidfd, Switchboard board, EventLoop loop)
    : loop_{std::move(loop)}, board_{std::move(board)}, program_pidfd_{std::move(program_pidfd)} {
  add_client(std::move(program), program_role, 0, 1);
}

Result<void> Keeper::begin() {
  raise_descriptor_limit();
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) == -1) return system_failure("become a subreaper");
  auto signals = child_signals();
  if (!signals) return failure(std::move(signals));
  signals_ = std::move(*signals);
  if (auto watched = loop_.watch(signals_.get(), [this] { reap(); }); !watched) return watched;
  if (auto watched = loop_.watch(program_pidfd_.get(), [this] { ending_ = true; }); !watched) return watched;
  if (auto added = board_.add({.role = program_role, .kept_bytes = 0, .mailbox_bytes_max = 64 << 20}); !added)
    return added;
  if (auto started = board_.process_starting(program_role, 1); !started) return started;
  apply(supervision::AddSupervisor{process_supervisor, 0, supervision::Lifetime::until_stopped});
  return fork_zygote();
}

void Keeper::run() {
  while (!ending_) {
    turn(std::min(next_look_, zygote_deadline()));
    look_after_zygote();
    if (Clock::now() >= next_look_) judge_progress();
  }
  end_everything();
}

/// One round of the loop, at most until then.
void Keeper::turn(TimePoint deadline) {
  loop_.run_once(std::min({supervision::next_deadline(tree_), clears_again_, deadline}));
  if (Clock::now() >= clears_again_) finish_clears();
  apply(supervision::Tick{});
}

// ---- decisions and what they ask for ---------------------------------------------------------------

void Keeper::apply(const supervision::Event& event) {
  events_.push_back(event);
  if (applying_) return;  // an action's own consequence: after the actions of the present event
  applying_ = true;
  while (!events_.empty()) {
    const supervision::Event next = std::move(events_.front());
    events_.pop_front();
    for (const supervision::Action& action : supervision::step(tree_, next, Clock::now())) carry_out(action);
  }
  applying_ = false;
  for (const auto parent : std::exchange(leavers_, {})) forget_family(parent);
}

void Keeper::carry_out(const supervision::Action& action) {
  struct Visitor {
    Keeper& keeper;
    void operator()(const supervision::Start& a) const { keeper.start(a); }
    void operator()(const supervision::AskToStop& a) const { keeper.ask_to_stop(a.id); }
    void operator()(const supervision::Signal& a) const { keeper.signal_process(a.id, a.number); }
    void operator()(const supervision::Clear& a) const { keeper.clear(a); }
    void operator()(const supervision::Transition& a) const { keeper.record(a); }
    void operator()(const supervision::RoleEnded& a) const { keeper.child_ended(a); }
    void operator()(const supervision::SupervisorEnded& a) const {
      const auto at = keeper.tree_.supervisors.find(a.id);
      if (at != keeper.tree_.supervisors.end()) keeper.board_.notify(keeper.role_of(at->second.owner));
    }
  };
  std::visit(Visitor{*this}, action);
}

/// An actor reads it in its mailbox; a plain function has none, so SIGTERM is how it is asked.
void Keeper::ask_to_stop(supervision::ChildId id) {
  const auto at = processes_.find(id);
  if (at == processes_.end()) return;
  if (at->second.request.ready_at_entry)
    signal_process(id, SIGTERM);
  else
    board_.ask_to_stop(at->second.role);
}

/// A process that is still being started is signalled as soon as it is known: no order is lost.
void Keeper::signal_process(supervision::ChildId id, int number) {
  const auto at = processes_.find(id);
  if (at == processes_.end()) return;
  if (at->second.start_pending && at->second.owed_signal != SIGKILL) at->second.owed_signal = number;
  if (!at->second.pidfd) return;
  ::pidfd_send_signal(at->second.pidfd.get(), number, nullptr, 0);
  if (number == SIGTERM)
    ::pidfd_send_signal(at->second.pidfd.get(), SIGCONT, nullptr, 0);  // a stopped one would not hear it
}

void Keeper::record(const supervision::Transition& action) {
  const auto at = processes_.find(action.id);
  if (at == processes_.end()) return;
  control::TransitionRecord record{.time = Clock::now().time_since_epoch().count(),
                                   .id = action.id,
                                   .incarnation = action.incarnation,
                                   .pid = at->second.pid,
                                   .from = action.from,
                                   .to = action.to,
                                   .name = at->second.request.name,
                                   .reason = control::Reason::of(action.reason)};
  chronicle_.record(at->second.request.supervisor, record);
  board_.notify(role_of(tree_.supervisors.at(at->second.request.supervisor).owner));
  if (action.from == supervision::ChildState::clearing) leavers_.push_back(action.id);
  if (action.to == supervision::ChildState::clearing)
    at->second.pid = 0;  // the dead one's number is told once
}

void Keeper::child_ended(const supervision::RoleEnded& action) {
  board_.role_ended(role_of(action.id), control::Reason::of(action.reason));
  if (const auto at = processes_.find(action.id); at != processes_.end()) {
    at->second.surroundings.reset();
    at->second.argument_descriptors.clear();
  }
  for (auto& [id, supervisor] : tree_.supervisors)
    if (supervisor.owner == action.id) board_.notify(role_of(supervisor.owner));
}

/// Supervisors and children that an ended incarnation had asked for: they have ended with it, and nobody can
/// ask about them.
void Keeper::forget_family(supervision::ChildId parent) {
  std::vector<supervision::SupervisorId> supervisors;
  for (const auto& [id, supervisor] : tree_.supervisors)
    if (supervisor.owner == parent && supervisor.ended) supervisors.push_back(id);
  for (const auto id : supervisors) remove_supervisor(id);
}

// ---- hung or not ------------------------------------------------------------------------------------

/// Four looks within the shortest hung_after; none while nobody has one.
void Keeper::plan_next_look() {
  Duration shortest = Duration::max();
  for (const auto& [id, child] : tree_.children)
    if (child.policy.hung_after > Duration::zero() && child.state != supervision::ChildState::stopped)
      shortest = std::min(shortest, child.policy.hung_after);
  next_look_ = shortest == Duration::max() ? never : deadline_in(std::max<Duration>(shortest / 4, 1ms));
}

/// Hung: work in hand or mail waiting, and no step for hung_after. Not while a debugger holds it, and not
/// while it waits for room in somebody else's lane, unless it was stopped there.
void Keeper::judge_progress() {
  using supervision::ChildState;
  const TimePoint now = Clock::now();
  std::vector<supervision::Hung> hung;
  for (const auto& [id, child] : tree_.children) {
    const bool starting = child.state == ChildState::starting;
    if (child.policy.hung_after <= Duration::zero() || (child.state != ChildState::running && !starting))
      continue;
    Process& process = processes_.at(id);
    if (process.pid == 0) continue;
    const std::uint64_t steps = board_.steps(process.role);
    const lane::Activity activity = board_.activity(process.role);
    const bool stopped_only = starting || activity == lane::Activity::parked;
    const bool busy = stopped_only || activity == lane::Activity::working || board_.has_mail(process.role);
    // The clock starts at the first look that finds it busy; looks that came late themselves prove nothing.
    const bool looked_late = now - next_look_ > child.policy.hung_after / 2;
    if (steps != process.watched_steps || !busy || !process.watched_busy || looked_late) {
      process.watched_steps = steps;
      process.watched_since = now;
    }
    process.watched_busy = busy;
    if (now - process.watched_since < child.policy.hung_after) continue;
    if (is_traced(process.pid) || (stopped_only && process_state(process.pid) != 'T'))
      process.watched_since = now;
    else
      hung.push_back({id, child.incarnation});
  }
  for (const supervision::Hung& one : hung) apply(one);
  plan_next_look();
}

// ---- the end -------------------------------------------------------------------------------------------

void Keeper::end_everything() {
  const TimePoint deadline = deadline_in(end_within);
  loop_.forget(program_pidfd_.get());
  std::vector<supervision::SupervisorId> all;
  for (const auto& [id, supervisor] : tree_.supervisors) all.push_back(id);
  for (const auto id : all) apply(supervision::StopSupervisor{id});
  const auto ended = [&] {
    return std::ranges::all_of(tree_.supervisors, [](const auto& one) { return one.second.ended; });
  };
  while (!ended() && Clock::now() < deadline) turn(deadline);
  kill_the_rest();
}

void Keeper::kill_the_rest() {
  const TimePoint deadline = deadline_in(last_reap_within);
  while (Clock::now() < deadline) {
    for (const int pid : unknown_children({}))
      if (auto pidfd = open_pidfd(pid)) ::pidfd_send_signal(pidfd->get(), SIGKILL, nullptr, 0);
    siginfo_t info{};
    while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) info = {};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD) return;
    [[maybe_unused]] const bool more = wait_readable(signals_.get(), std::min(deadline, deadline_in(10ms)));
    signalfd_siginfo ignored{};
    while (::read(signals_.get(), &ignored, sizeof ignored) > 0) {}
  }
}

// ---- birth -----------------------------------------------------------------------------------------------

namespace {

/// Names of the threads beside the first that static constructors have left; a sanitizer's own do not count.
std::string other_threads() {
#if defined(__SANITIZE_THREAD__)
  return {};
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return {};
#endif
#endif
  std::string names;
  std::unique_ptr<DIR, int (*)(DIR*)> tasks{::opendir("/proc/self/task"), ::closedir};
  while (const dirent* const entry = tasks ? ::readdir(tasks.get()) : nullptr) {
    const std::string_view id = entry->d_name;
    if (id.starts_with('.') || id == std::to_string(::getpid())) continue;
    names += (names.empty() ? "" : ", ") + std::string{id};
  }
  return names;
}

void become_keeper() {
  ::prctl(PR_SET_NAME, "troupe:keeper");
  ::setpgid(0, 0);
}

}  // namespace

void run_keeper() {
  const std::string threads = other_threads();
  if (::fork() != 0) ::_exit(0);  // the program waits for this one; the keeper is nobody's child but init's
  become_keeper();
  SocketChannel program{OwnedFd{control::channel_descriptor}};
  BuildId expected{};
  auto packet = program.receive(std::as_writable_bytes(std::span{expected}), deadline_in(30s));
  if (!packet || packet->descriptors.size() != 1) ::_exit(1);
  const auto here = program_build_id();
  auto self = open_pidfd(::getpid());
  auto board = Switchboard::create();
  auto loop = EventLoop::create();
  if (!here || !self || !board || !loop) ::_exit(1);
  const KeeperHello hello{
      .pid = ::getpid(), .same_build = *here == expected, .threads = std::string_view{threads}};
  const int own = self->get();
  if (!program.send(control::bytes_of(hello), std::span{&own, 1}, deadline_in(30s)) || !hello.same_build)
    ::_exit(1);
  self->reset();
  {
    Keeper keeper{std::move(program), std::move(packet->descriptors.front()), std::move(*board),
                  std::move(*loop)};
    if (keeper.begin()) keeper.run();
  }
  ::_exit(0);
}

}  // namespace troupe::detail
