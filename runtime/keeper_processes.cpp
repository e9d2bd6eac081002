// SPDX-License-Identifier: MIT
// The keeper's processes: started, known, reaped, and cleared of what they left behind.
#include <sys/prctl.h>
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
#include <troupe/runtime/keeper.hpp>
#include <troupe/runtime/launcher.hpp>
#include <troupe/runtime/strays.hpp>
#include <troupe/runtime/zygote.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr auto zygote_within = std::chrono::seconds{
    5};  ///< it serves a request in a tenth of a millisecond: one that does not was stopped

constexpr auto unclear_for = std::chrono::milliseconds{
    20};  ///< between taking up a program and showing its environment pass microseconds
constexpr auto look_again_after = std::chrono::milliseconds{1};

}  // namespace

// ---- the zygote -----------------------------------------------------------------------------------------

Result<void> Keeper::fork_zygote() {
  auto ends = SocketChannel::create_pair();
  if (!ends) return failure(std::move(ends));
  const int keeper = ::getpid();
  const int pid = ::fork();
  if (pid == -1) return system_failure("fork the zygote");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != keeper) ::_exit(1);
    ::dup2(ends->second.descriptor(), control::channel_descriptor);
    ::close_range(control::channel_descriptor + 1, ~0U, 0);
    run_zygote(SocketChannel{OwnedFd{control::channel_descriptor}});
  }
  zygote_pid_ = pid;
  zygote_ = std::move(ends->first);
  return loop_.watch(zygote_.descriptor(), [this] { zygote_speaks(); });
}

void Keeper::zygote_speaks() {
  std::array<std::byte, sizeof(control::Started)> buffer{};
  for (;;) {
    auto packet = zygote_.receive(buffer, Clock::now());
    if (!packet && packet.error().kind == ErrorKind::timed_out) return;
    if (!packet) break;
    const auto started = control::read<control::Started>(buffer);
    const auto at = started ? processes_.find(started->child) : processes_.end();
    if (at == processes_.end() || at->second.incarnation != started->incarnation || !at->second.start_pending)
      continue;
    if (started->errnum != 0)
      start_failed(at->second, at->first, system_error("clone a process", started->errnum));
    else if (!packet->descriptors.empty())
      process_known(at->first, started->pid, std::move(packet->descriptors.front()));
  }
  // The zygote has died. Starts it had not answered: a child that was cloned says hello by itself or is
  // found among the reaped; one that was not leaves a channel that nobody holds, and fails there.
  loop_.forget(zygote_.descriptor());
  zygote_ = SocketChannel{};
  zygote_pid_ = 0;
  if (!fork_zygote()) ending_ = true;
  for (auto& [id, process] : processes_)
    if (process.start_pending && process.channel == -1) start_again(process, id);
}

/// A start that is not answered means that the zygote was stopped: its death answers them all.
TimePoint Keeper::zygote_deadline() const {
  TimePoint first = never;
  for (const auto& [id, process] : processes_)
    if (process.start_pending) first = std::min(first, deadline_after(process.start_asked, zygote_within));
  return first;
}

void Keeper::look_after_zygote() {
  if (zygote_pid_ == 0 || Clock::now() < zygote_deadline()) return;
  if (auto pidfd = open_pidfd(zygote_pid_)) ::pidfd_send_signal(pidfd->get(), SIGKILL, nullptr, 0);
  for (auto& [id, process] : processes_)
    if (process.start_pending) process.start_asked = Clock::now();
}

// ---- starting -------------------------------------------------------------------------------------------

void Keeper::start(const supervision::Start& action) {
  const auto at = processes_.find(action.id);
  if (at == processes_.end()) return;
  Process& process = at->second;
  process.incarnation = action.incarnation;
  process.pid = 0;
  process.owed_signal = 0;
  process.hello_pid = 0;
  process.said_ready = false;
  process.failed_text.clear();
  process.watched_steps = 0;
  process.watched_busy = false;
  process.watched_since = Clock::now();
  if (next_look_ == never) plan_next_look();
  if (auto started = start_process(process, action.id); !started)
    start_failed(process, action.id, started.error());
}

void Keeper::start_failed(Process& process, supervision::ChildId id, const Error& error) {
  process.start_pending = false;
  if (process.channel != -1) drop_client(std::exchange(process.channel, -1));
  board_.process_ended(process.role);
  apply(supervision::StartFailed{id, process.incarnation, {ExitCause::init_failed, Exited{0}, error.text}});
}

Result<control::Start> Keeper::start_record(const Process& process, supervision::ChildId id) const {
  if (!process.surroundings) return failure(ErrorKind::invalid, "start: without surroundings");
  const control::Surroundings& around = process.surroundings->what;
  return control::Start{
      .incarnation = process.incarnation,
      .child = id,
      .entry = process.request.entry,
      .descriptors_soft_max = around.descriptors_soft_max,
      .umask = around.umask,
      .keeper_pid = static_cast<std::uint32_t>(::getpid()),
      .own_environment = around.own_environment,
      .ready_at_entry = process.request.ready_at_entry,
      .name = process.request.name,
      .argument_bytes = process.request.argument_bytes,
      .argument_descriptors = static_cast<std::uint32_t>(process.argument_descriptors.size())};
}

Result<void> Keeper::start_process(Process& process, supervision::ChildId id) {
  if (auto prepared = board_.process_starting(process.role, process.incarnation); !prepared) return prepared;
  const auto start = start_record(process, id);
  if (!start) return tl::unexpected<Error>{start.error()};
  auto ends = SocketChannel::create_pair();
  if (!ends) return failure(std::move(ends));
  const int child_end = ends->second.descriptor();
  process.channel = add_client(std::move(ends->first), process.role, id, process.incarnation);

  std::vector<std::byte> packet(sizeof *start + process.arguments.size());
  std::ranges::copy(control::bytes_of(*start), packet.begin());
  std::ranges::copy(process.arguments, packet.begin() + sizeof *start);
  std::vector<int> descriptors;
  for (const OwnedFd& fd : process.surroundings->descriptors) descriptors.push_back(fd.get());
  for (const OwnedFd& fd : process.argument_descriptors) descriptors.push_back(fd.get());

  if (process.request.method == StartMethod::forkserver) {
    descriptors.insert(descriptors.begin(), child_end);
    return ask_zygote(process, packet, descriptors);
  }
  auto variables = environment(role_variable);
  variables.push_back(role_assignment(start->keeper_pid, id, process.incarnation));
  const auto pid = execute_self(child_mark, std::string{program_name()}, child_end, variables);
  if (!pid) return tl::unexpected<Error>{pid.error()};
  auto pidfd = open_pidfd(*pid);
  if (!pidfd) return failure(std::move(pidfd));
  if (auto sent = clients_.at(process.channel)->channel.send(packet, descriptors, Clock::now()); !sent) {
    ::pidfd_send_signal(pidfd->get(), SIGKILL, nullptr, 0);  // nobody's yet: reaped as a stranger
    return sent;
  }
  process_known(id, *pid, std::move(*pidfd));
  return {};
}

/// A zygote that was killed a moment ago is replaced first.
Result<void> Keeper::ask_zygote(Process& process, std::span<const std::byte> packet,
                                std::span<const int> descriptors) {
  process.start_pending = true;
  process.start_asked = Clock::now();
  process.zygote = zygote_pid_;
  auto sent = zygote_.send(packet, descriptors, Clock::now());
  if (sent || sent.error().kind != ErrorKind::closed) return sent;
  process.start_pending = false;  // this one was not lost with it
  zygote_speaks();
  process.start_pending = true;
  process.zygote = zygote_pid_;
  return zygote_.send(packet, descriptors, Clock::now());
}

/// The zygote was killed with this start in its hands, and nobody holds the channel: the process never was,
/// or has come and gone already.
void Keeper::start_again(Process& process, supervision::ChildId id) {
  const auto early = std::ranges::find(early_exits_, process.hello_pid, &Reaped::pid);
  if (process.hello_pid != 0 && early != early_exits_.end()) {
    const Reaped reaped = *early;
    early_exits_.erase(early);
    process.start_pending = false;
    process.pid = process.hello_pid;
    if (process.said_ready) apply(supervision::Ready{id, process.incarnation});
    return process_gone(id, reaped);
  }
  process.start_pending = false;
  if (auto started = start_process(process, id); !started) start_failed(process, id, started.error());
}

void Keeper::process_known(supervision::ChildId id, int pid, OwnedFd pidfd) {
  Process& process = processes_.at(id);
  process.start_pending = false;
  process.pid = pid;
  process.pidfd = std::move(pidfd);
  by_pid_[pid] = id;
  if (process.request.policy.restart == Restart::temporary)
    process.argument_descriptors
        .clear();  // it has them, and there will be no other: its peers must see its end
  if (const int owed = std::exchange(process.owed_signal, 0); owed != 0) signal_process(id, owed);
  if (process.said_ready) apply(supervision::Ready{id, process.incarnation});
  const auto early = std::ranges::find(early_exits_, pid, &Reaped::pid);
  if (early == early_exits_.end()) return;
  siginfo_t alive{};  // the number may be in use again: the pidfd tells whether it is this one's
  if (::waitid(P_PIDFD, static_cast<id_t>(process.pidfd.get()), &alive, WEXITED | WNOHANG | WNOWAIT) == 0)
    return;
  const Reaped reaped = *early;
  early_exits_.erase(early);
  process_gone(id, reaped);
}

// ---- ending ---------------------------------------------------------------------------------------------

void Keeper::reap() {
  signalfd_siginfo ignored{};
  while (::read(signals_.get(), &ignored, sizeof ignored) > 0) {}
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0) break;
    const auto reaped = detail::reap(P_PID, static_cast<id_t>(info.si_pid));
    if (!reaped) break;
    const int pid = reaped->pid;
    if (pid == zygote_pid_) continue;  // its channel says so as well
    for (Clearing& clearing : clears_) clearing.strays.erase(pid);
    const bool starting =
        std::ranges::any_of(processes_, [](const auto& one) { return one.second.start_pending; });
    if (const auto at = by_pid_.find(pid); at != by_pid_.end())
      process_gone(at->second, *reaped);
    else if (starting)
      early_exits_.push_back(*reaped);
  }
  if (std::ranges::none_of(processes_, [](const auto& one) { return one.second.start_pending; }))
    early_exits_.clear();
  finish_clears();
}

void Keeper::process_gone(supervision::ChildId id, const Reaped& reaped) {
  Process& process = processes_.at(id);
  process.usage = reaped.usage;
  by_pid_.erase(process.pid);
  process.pidfd.reset();
  while (process.channel != -1)
    client_speaks(process.channel);  // its last words, then the end of the channel
  const bool worked = board_.made_progress(process.role);
  board_.process_ended(process.role);
  queue_deposits_.look_at_all();  // it may have been the last end of one
  apply(supervision::Ended{id, process.incarnation, reaped.status, worked, process.failed_text});
}

void Keeper::clear(const supervision::Clear& action) {
  clears_.push_back(
      {.what = action,
       .role = role_assignment(static_cast<std::uint32_t>(::getpid()), action.id, action.incarnation),
       .unclear_until = deadline_in(unclear_for)});
  finish_clears();
}

/// What a dead incarnation has left behind is now our child, since we are its subreaper; it carries its role.
/// A zombie is about to be reaped, and that brings us here again: what it leaves behind is ours by then.
void Keeper::finish_clears() {
  clears_again_ = never;
  if (clears_.empty()) return;
  std::set<int> known{zygote_pid_};
  for (const auto& [pid, id] : by_pid_) known.insert(pid);
  const auto unknown = unknown_children(known);
  std::vector<supervision::Clear> done;
  std::erase_if(clears_, [&](Clearing& clearing) {
    const auto left = std::ranges::count_if(unknown, [&](int pid) { return holds_up(clearing, pid); });
    if (left == 0) done.push_back(clearing.what);
    return left == 0;
  });
  for (const supervision::Clear& clear : done) apply(supervision::Cleared{clear.id, clear.incarnation});
}

/// Whether this child of ours may belong to the dead incarnation, or what it leaves behind; if it certainly
/// does, it is killed.
bool Keeper::holds_up(Clearing& clearing, int pid) {
  switch (clearing.strays.contains(pid) ? Belonging::yes : belonging(pid, clearing.role)) {
    case Belonging::no: return false;
    case Belonging::dying: return true;
    case Belonging::unclear:
      if (Clock::now() >= clearing.unclear_until) return false;
      clears_again_ = std::min(clears_again_, deadline_in(look_again_after));
      return true;
    case Belonging::yes: break;
  }
  clearing.strays.insert(pid);
  if (auto pidfd = open_pidfd(pid)) ::pidfd_send_signal(pidfd->get(), SIGKILL, nullptr, 0);
  return true;
}

}  // namespace troupe::detail
