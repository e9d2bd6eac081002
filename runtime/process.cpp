// SPDX-License-Identifier: MIT
#include <troupe/runtime/process.hpp>

#include <sched.h>

#include <csignal>
#include <mutex>
#include <ostream>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/keeper.hpp>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/runtime/start_child.hpp>

namespace troupe {

using detail::KeeperLink;
using supervision::ChildState;

struct Process::State {
  ProcessOptions options{};
  detail::PackedCall call{};
  supervision::ChildId child = 0;  ///< 0: not started
  int pid = 0;
  OwnedFd pidfd{};
  std::optional<ExitReport> report{};
  std::uint64_t generation = 0;  ///< of the link that it was started through

  /// That link; `closed` where another one has taken its place, to whose keeper our number means somebody
  /// else.
  [[nodiscard]] Result<KeeperLink*> link() const {
    auto present = KeeperLink::of_process();
    if (present && KeeperLink::current_generation() != generation)
      return failure(ErrorKind::closed, "process " + options.name + ": its keeper was ended, and it with it");
    return present;
  }
};

namespace {

/// The supervisor of the Process objects of this process: made by its first start.
Result<supervision::SupervisorId> own_supervisor(KeeperLink& link) {
  if (detail::own_start() == nullptr) return detail::process_supervisor;
  static std::mutex making;
  static supervision::SupervisorId made = 0;
  const std::lock_guard lock{making};
  if (made == 0) {
    auto answer = link.ask<control::Id>(control::AddSupervisor{});
    if (!answer) return failure(std::move(answer));
    made = answer->record.id;
  }
  return made;
}

Result<StartMethod> usable_method(const KeeperLink& link, std::optional<StartMethod> wanted) {
  const std::string& threads = link.threads_at_start();
  if (threads.empty()) return wanted.value_or(StartMethod::forkserver);
  if (wanted == StartMethod::forkserver)
    return failure(ErrorKind::refused, "start: this program's static constructors start threads (" + threads +
                                           "), and a fork would copy their locks; try StartMethod::spawn");
  if (!wanted)
    log(LogLevel::warning,
        "static constructors start threads (" + threads + "): processes are started by spawn");
  return StartMethod::spawn;
}

/// The sentinel of a process that had ended before its start was answered.
OwnedFd always_readable() {
  auto bell = create_bell();
  if (!bell) return {};
  ring(bell->get());
  return std::move(*bell);
}

}  // namespace

Process::Process(ProcessOptions options, detail::PackedCall call)
    : state_{std::make_unique<State>(State{.options = std::move(options), .call = std::move(call)})} {
  if (state_->options.name.empty()) state_->options.name = "process";
}

Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Process::~Process() {
  if (!state_ || state_->child == 0) return;
  // Errors cannot leave a destructor; the only one possible is the keeper's end, which has ended the process
  // too.
  if (!state_->report) [[maybe_unused]]
    const auto ended = state_->options.daemon ? stop() : join();
  if (auto link = state_->link()) [[maybe_unused]]
    const auto removed =
        (*link)->ask<control::Id>(control::OfChild{.kind = control::Kind::remove_child, .id = state_->child});
}

Result<void> Process::start() {
  State& state = *state_;
  if (state.child != 0)
    return failure(ErrorKind::refused,
                   "process " + state.options.name + ": it was started already; make another Process");
  auto link = KeeperLink::of_process();
  if (!link) return failure(std::move(link));
  auto supervisor = own_supervisor(**link);
  if (!supervisor) return failure(std::move(supervisor));
  auto method = usable_method(**link, state.options.method);
  if (!method) return failure(std::move(method));
  control::AddChild request{
      .method = *method, .supervisor = *supervisor, .name = std::string_view{state.options.name}};
  request.policy.restart = Restart::temporary;
  request.policy.daemon = true;  // it keeps no node alive: this object joins it
  request.policy.ready_within = state.options.ready_within;
  request.policy.stop_within = state.options.stop_within;
  auto child = detail::start_child(**link, request, state.call);
  if (!child) return failure(std::move(child));
  for (const auto& act : state.call.once_known) act(child->record.pid);
  state.call = {};  // it has its arguments: what they held is no longer this process's
  state.child = child->record.id;
  state.generation = KeeperLink::current_generation();
  state.pid = child->record.pid;
  state.pidfd = child->descriptors.empty() ? always_readable() : std::move(child->descriptors.front());
  return {};
}

Result<ExitReport> Process::join(Duration within) {
  State& state = *state_;
  if (state.child == 0)
    return failure(ErrorKind::invalid, "process " + state.options.name + ": it was never started");
  if (state.report) return *state.report;
  auto link = state.link();
  if (!link) return failure(std::move(link));
  control::ChildRecord last;
  Result<void> asked{};
  const auto ended = [&] {
    auto answer = (*link)->ask<control::ChildRecord>(control::OfChild{.id = state.child});
    if (!answer) {
      asked = failure(std::move(answer));
      return true;
    }
    last = answer->record;
    return answer->record.state == ChildState::stopped;
  };
  if (auto waited = (*link)->wait_until(deadline_in(within), ended); !waited) {
    if (waited.error().kind == ErrorKind::timed_out)
      return failure(ErrorKind::timed_out, "process " + state.options.name + ": it has not ended in time");
    return failure(std::move(waited));
  }
  if (!asked) return failure(std::move(asked));
  state.report = ExitReport{state.options.name, state.pid, last.reason.value(), last.usage};
  return *state.report;
}

Result<ExitReport> Process::stop() {
  if (state_->child == 0) return join();
  auto link = state_->link();
  if (!link) return failure(std::move(link));
  auto asked =
      (*link)->ask<control::Id>(control::OfChild{.kind = control::Kind::stop_child, .id = state_->child});
  if (!asked) return failure(std::move(asked));
  return join();
}

Result<void> Process::signal(int number) {
  if (state_->child == 0)
    return failure(ErrorKind::invalid, "process " + state_->options.name + ": it was never started");
  auto link = state_->link();
  if (!link) return failure(std::move(link));
  auto sent = (*link)->ask<control::Id>(
      control::OfChild{.kind = control::Kind::signal_child, .signal = number, .id = state_->child});
  if (!sent) return failure(std::move(sent));
  return {};
}

Result<void> Process::interrupt() { return signal(SIGINT); }
Result<void> Process::terminate() { return signal(SIGTERM); }
Result<void> Process::kill() { return signal(SIGKILL); }
Result<void> Process::suspend() { return signal(SIGSTOP); }
Result<void> Process::resume() { return signal(SIGCONT); }

std::optional<ExitReport> Process::exit_report() const {
  if (!state_->report && state_->child != 0) [[maybe_unused]]
    const auto looked = const_cast<Process*>(this)->join(Duration::zero());
  return state_->report;
}

bool Process::alive() const { return state_->child != 0 && !exit_report(); }
int Process::pid() const noexcept { return state_->pid; }
const std::string& Process::name() const noexcept { return state_->options.name; }
int Process::sentinel() const noexcept { return state_->pidfd.get(); }

unsigned process_cpu_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == -1) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

std::ostream& operator<<(std::ostream& out, const ExitReport& report) {
  return out << report.name << " (pid " << report.pid << ") ended: " << report.reason;
}

}  // namespace troupe
