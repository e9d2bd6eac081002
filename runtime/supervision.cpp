// SPDX-License-Identifier: MIT
#include <troupe/runtime/supervision.hpp>

#include <algorithm>
#include <csignal>
#include <queue>
#include <string>
#include <troupe/transport/result.hpp>

namespace troupe::supervision {
namespace {

/// What can happen to one child, whichever event it came by.
/// `stop`: by request, by its supervisor's stop, by its parent's end. `time_out`: its deadline has passed.
enum class Happening : std::uint8_t { ready, start_failed, ended, cleared, hung, stop, time_out };

/// What is known about an end; empty for all other happenings.
struct End {
  ExitStatus status{};
  std::string detail{};
  bool acknowledged = false;
};

template <class Map>
auto* find(Map& map, std::uint64_t id) {
  const auto found = map.find(id);
  return found == map.end() ? nullptr : &found->second;
}

/// Looks from the back: the youngest stops first.
void forget(std::vector<std::uint64_t>& ids, std::uint64_t id) {
  const auto found = std::find(ids.rbegin(), ids.rend(), id);
  if (found != ids.rend()) ids.erase(std::next(found).base());
}

/// Whether the process is one that may still make children and supervisors.
bool may_ask(const Child* child) noexcept {
  return child != nullptr && (child->state == ChildState::starting || child->state == ChildState::running);
}

ExitReason refusal(std::string why) { return {ExitCause::shutdown, Exited{0}, std::move(why)}; }

bool not_needed(const Supervisor& supervisor) noexcept {
  return supervisor.lifetime == Lifetime::while_needed && supervisor.had_non_daemon &&
         supervisor.live_non_daemons == 0;
}

ExitCause cause_of(const Child& child, const ExitStatus& status) noexcept {
  if (child.stop_requested) return ExitCause::shutdown;
  if (child.judged_hung) return ExitCause::hung;
  if (child.judged_late || child.state == ChildState::starting) return ExitCause::init_failed;
  if (std::holds_alternative<Signaled>(status)) return ExitCause::signaled;
  return status == ExitStatus{Exited{0}} ? ExitCause::normal : ExitCause::failed;
}

std::string init_detail(const Child& child, const std::string& said) {
  if (!child.judged_late) return said.empty() ? "ended before it was ready" : said;
  const std::string late = "not ready within " + to_text(child.policy.ready_within);
  return said.empty() ? late : late + ": " + said;
}

ExitReason reason_of(const Child& child, const End& end) {
  const ExitCause cause = cause_of(child, end.status);
  const bool init = cause == ExitCause::init_failed;
  return {cause, end.status, clipped(init ? init_detail(child, end.detail) : end.detail)};
}

/// One step: the handlers of the events, and the actions they call for. What the end of one child
/// means for its supervisor and its parent waits in two queues, so a deep tree makes no deep stack.
class Step {
 public:
  Step(Tree& tree, TimePoint now) noexcept : tree_{tree}, now_{now} {}

  void operator()(const AddSupervisor& event);
  void operator()(const SetLifetime& event);
  void operator()(const AddChild& event);
  void operator()(const Ready& event) { report(event, Happening::ready); }
  void operator()(const StartFailed& event) {
    report(event, Happening::start_failed, {event.reason.status, event.reason.detail, false});
  }
  void operator()(const Ended& event) {
    report(event, Happening::ended, {event.status, event.detail, event.acknowledged});
  }
  void operator()(const Cleared& event) { report(event, Happening::cleared); }
  void operator()(const Hung& event) { report(event, Happening::hung); }
  void operator()(const StopChild& event) {
    if (Child* child = find(tree_.children, event.id)) happen(*child, Happening::stop);
  }
  void operator()(const StopSupervisor& event) {
    if (Supervisor* supervisor = find(tree_.supervisors, event.id)) stop(*supervisor);
  }
  void operator()(const RemoveChild& event);
  void operator()(const RemoveSupervisor& event);
  void operator()(const Tick& event);

  [[nodiscard]] std::vector<Action> finish();

 private:
  using Handler = void (Step::*)(Child&, const End&);
  static Handler handler(ChildState state, Happening happening) noexcept;

  // What the table's cells do.
  void run(Child& child, const End&) { move(child, ChildState::running); }
  void bury_unborn(Child& child, const End& end) {
    clear(child, end);
    end_nested(child);
    note_cleared(child, end);
  }
  void bury(Child& child, const End& end) {
    clear(child, end);
    actions_.emplace_back(Clear{child.id, child.incarnation});
    end_nested(child);
  }
  void note_cleared(Child& child, const End&) {
    child.cleared = true;
    parents_to_see_.push(child.id);
  }
  void kill_hung(Child& child, const End&) {
    child.judged_hung = true;
    kill(child);
  }
  void kill_late(Child& child, const End&) {
    child.judged_late = true;
    kill(child);
  }
  void ask(Child& child, const End& end);
  void note_stop(Child& child, const End&) { child.stop_requested = true; }
  void climb(Child& child, const End& end);
  void call_off(Child& child, const End& end);
  void start_again(Child& child, const End& end);

  template <class Event>
  void report(const Event& event, Happening happening, const End& end = {});
  void happen(Child& child, Happening happening, const End& end = {}) {
    if (const Handler act = handler(child.state, happening)) (this->*act)(child, end);
  }

  void admit(Child& child, Supervisor& supervisor);
  void refuse(Child& child, std::string why) {
    child.reason = refusal(std::move(why));
    actions_.emplace_back(RoleEnded{child.id, child.reason});
  }
  void start(Child& child);
  void kill(Child& child) {
    move(child, ChildState::stopping);
    actions_.emplace_back(Signal{child.id, SIGKILL});
  }
  void clear(Child& child, const End& end);
  void end_nested(const Child& child);
  void decide(Child& child);
  void stop_for_good(Child& child, ExitReason reason);

  void stop(Supervisor& supervisor) {
    supervisor.stopping = true;
    supervisors_to_see_.push(supervisor.id);
  }
  void go_on(Supervisor& supervisor);
  void go_on(Child& parent);

  void move(Child& child, ChildState to);
  void set_deadline(Child& child, TimePoint deadline);

  Tree& tree_;
  TimePoint now_;
  std::vector<Action> actions_{};
  std::queue<SupervisorId> supervisors_to_see_{};
  std::queue<ChildId> parents_to_see_{};
};

/// The whole machine: state × happening. docs/supervision.md shows the same table in words.
Step::Handler Step::handler(ChildState state, Happening happening) noexcept {
  constexpr Handler none = nullptr;
  using S = Step;
  // clang-format off
  static constexpr Handler table[6][7] = {
    //                 ready    start_failed     ended     cleared           hung           stop           time_out
    /* starting */    {&S::run, &S::bury_unborn, &S::bury, none,             &S::kill_hung, &S::ask,       &S::kill_late},
    /* running */     {none,    none,            &S::bury, none,             &S::kill_hung, &S::ask,       none},
    /* stopping */    {none,    &S::bury_unborn, &S::bury, none,             none,          &S::note_stop, &S::climb},
    /* clearing */    {none,    none,            none,     &S::note_cleared, none,          &S::note_stop, none},
    /* backing_off */ {none,    none,            none,     none,             none,          &S::call_off,  &S::start_again},
    /* stopped */     {none,    none,            none,     none,             none,          none,          none},
  };
  // clang-format on
  return table[static_cast<std::size_t>(state)][static_cast<std::size_t>(happening)];
}

template <class Event>
void Step::report(const Event& event, Happening happening, const End& end) {
  Child* child = find(tree_.children, event.id);
  if (child != nullptr && child->incarnation == event.incarnation) happen(*child, happening, end);
}

void Step::ask(Child& child, const End&) {
  child.stop_requested = true;
  if (child.policy.stop_within <= Duration::zero()) return kill(child);
  move(child, ChildState::stopping);
  actions_.emplace_back(AskToStop{child.id});
  set_deadline(child, deadline_after(now_, child.policy.stop_within / 2));
}

/// The second half counts from now, not from the first deadline: a late Tick takes no time from the child.
void Step::climb(Child& child, const End&) {
  const Duration within = child.policy.stop_within;
  actions_.emplace_back(Signal{child.id, child.terminate_sent ? SIGKILL : SIGTERM});
  set_deadline(child, child.terminate_sent ? never : deadline_after(now_, within - within / 2));
  child.terminate_sent = true;
}

void Step::call_off(Child& child, const End&) {
  stop_for_good(child, {ExitCause::shutdown, child.reason.status, "while it waited for its restart"});
}

/// A supervisor that stops will come to this child in its turn, and starts none before.
void Step::start_again(Child& child, const End&) {
  if (!tree_.supervisors.at(child.supervisor).stopping) start(child);
}

void Step::start(Child& child) {
  ++child.incarnation;
  child.judged_hung = child.judged_late = child.cleared = false;
  move(child, ChildState::starting);
  actions_.emplace_back(Start{child.id, child.incarnation});
  const Duration within = child.policy.ready_within;
  if (within > Duration::zero()) set_deadline(child, deadline_after(now_, within));
}

void Step::clear(Child& child, const End& end) {
  child.reason = reason_of(child, end);
  // The maximum: it never wraps to 0.
  child.idle_ends = end.acknowledged ? 0 : std::max(child.idle_ends, child.idle_ends + 1);
  move(child, ChildState::clearing);
}

/// Its supervisors stop their children in order; what is nested elsewhere is asked at once, youngest first.
void Step::end_nested(const Child& child) {
  for (const SupervisorId id : child.owned) stop(tree_.supervisors.at(id));
  const std::vector<ChildId> nested{child.nested.rbegin(), child.nested.rend()};
  for (const ChildId id : nested) {
    Child& one = tree_.children.at(id);
    if (tree_.supervisors.at(one.supervisor).owner != child.id) happen(one, Happening::stop);
  }
}

void Step::decide(Child& child) {
  const bool wanted = !child.stop_requested && !tree_.supervisors.at(child.supervisor).stopping;
  if (!wanted || !restarts_on(child.policy.restart, child.reason.cause)) {
    return stop_for_good(child, child.reason);
  }
  if (!restart_allowed(child.restarts, child.policy, now_)) {
    return stop_for_good(child, given_up(child.reason, child.restarts.size(), child.policy.window));
  }
  const double unit = random_unit(tree_.random_state);
  const Duration pause = backoff_pause(child.policy.backoff, child.idle_ends, unit);
  if (pause == Duration::zero()) return start(child);
  move(child, ChildState::backing_off);
  set_deadline(child, deadline_after(now_, pause));
}

void Step::stop_for_good(Child& child, ExitReason reason) {
  child.reason = std::move(reason);
  move(child, ChildState::stopped);
  actions_.emplace_back(RoleEnded{child.id, child.reason});
  Supervisor& supervisor = tree_.supervisors.at(child.supervisor);
  forget(supervisor.live, child.id);
  if (!child.policy.daemon) --supervisor.live_non_daemons;
  supervisors_to_see_.push(supervisor.id);
  if (Child* parent = find(tree_.children, child.parent)) {
    forget(parent->nested, child.id);
    parents_to_see_.push(parent->id);
  }
}

/// Stops the youngest child that is left, or ends: called again whenever one has reached `stopped`.
void Step::go_on(Supervisor& supervisor) {
  if (not_needed(supervisor)) supervisor.stopping = true;
  if (!supervisor.stopping || supervisor.ended) return;
  if (!supervisor.live.empty()) return happen(tree_.children.at(supervisor.live.back()), Happening::stop);
  supervisor.ended = true;
  actions_.emplace_back(SupervisorEnded{supervisor.id});
  if (Child* owner = find(tree_.children, supervisor.owner)) {
    forget(owner->owned, supervisor.id);
    parents_to_see_.push(owner->id);
  }
}

void Step::go_on(Child& parent) {
  const bool alone = parent.nested.empty() && parent.owned.empty();
  if (parent.state == ChildState::clearing && parent.cleared && alone) decide(parent);
}

/// A deadline belongs to a state, and goes with it.
void Step::move(Child& child, ChildState to) {
  set_deadline(child, never);
  const ChildState from = std::exchange(child.state, to);
  actions_.emplace_back(Transition{child.id, child.incarnation, from, to, child.reason});
}

void Step::set_deadline(Child& child, TimePoint deadline) {
  if (child.deadline != never) tree_.deadlines.erase({child.deadline, child.id});
  child.deadline = deadline;
  if (deadline != never) tree_.deadlines.emplace(deadline, child.id);
}

void Step::operator()(const AddSupervisor& event) {
  const auto [place, is_new] = tree_.supervisors.try_emplace(event.id);
  TROUPE_ASSERT(event.id != 0 && is_new);
  Supervisor& supervisor = place->second;
  supervisor.id = event.id;
  supervisor.owner = event.owner;
  supervisor.lifetime = event.lifetime;
  if (event.owner == 0) return;
  Child* owner = find(tree_.children, event.owner);
  if (!may_ask(owner)) return stop(supervisor);
  owner->owned.push_back(event.id);
}

void Step::operator()(const SetLifetime& event) {
  Supervisor* supervisor = find(tree_.supervisors, event.id);
  if (supervisor == nullptr) return;
  supervisor->lifetime = event.lifetime;
  supervisors_to_see_.push(event.id);
}

void Step::operator()(const AddChild& event) {
  const Child& asked = event.child;
  Supervisor* supervisor = find(tree_.supervisors, asked.supervisor);
  if (supervisor == nullptr) {
    actions_.emplace_back(RoleEnded{asked.id, refusal("its supervisor has ended")});
    return;
  }
  const auto [place, is_new] = tree_.children.try_emplace(asked.id);
  TROUPE_ASSERT(asked.id != 0 && is_new);
  Child& child = place->second;
  child.id = asked.id;
  child.supervisor = asked.supervisor;
  child.parent = asked.parent;
  child.policy = asked.policy;
  supervisor->children.push_back(child.id);
  admit(child, *supervisor);
}

void Step::admit(Child& child, Supervisor& supervisor) {
  Child* parent = find(tree_.children, child.parent);
  if (supervisor.stopping) return refuse(child, "its supervisor is stopping");
  if (child.parent != 0 && !may_ask(parent)) return refuse(child, "its parent has ended");
  supervisor.live.push_back(child.id);
  if (!child.policy.daemon) ++supervisor.live_non_daemons;
  if (!child.policy.daemon) supervisor.had_non_daemon = true;
  if (parent != nullptr) parent->nested.push_back(child.id);
  start(child);
}

void Step::operator()(const RemoveChild& event) {
  const Child* child = find(tree_.children, event.id);
  if (child == nullptr || child->state != ChildState::stopped) return;
  forget(tree_.supervisors.at(child->supervisor).children, event.id);
  tree_.children.erase(event.id);
}

void Step::operator()(const RemoveSupervisor& event) {
  const Supervisor* supervisor = find(tree_.supervisors, event.id);
  if (supervisor == nullptr || !supervisor->ended) return;
  for (const ChildId id : supervisor->children) tree_.children.erase(id);
  tree_.supervisors.erase(event.id);
}

/// Every time-out sets a later deadline or none, so this ends, and the past is never next.
void Step::operator()(const Tick&) {
  while (!tree_.deadlines.empty() && tree_.deadlines.begin()->first <= now_) {
    Child& child = tree_.children.at(tree_.deadlines.begin()->second);
    set_deadline(child, never);
    happen(child, Happening::time_out);
  }
}

std::vector<Action> Step::finish() {
  while (!supervisors_to_see_.empty() || !parents_to_see_.empty()) {
    if (!supervisors_to_see_.empty()) {
      go_on(tree_.supervisors.at(supervisors_to_see_.front()));
      supervisors_to_see_.pop();
    } else {
      go_on(tree_.children.at(parents_to_see_.front()));
      parents_to_see_.pop();
    }
  }
  return std::move(actions_);
}

}  // namespace

std::vector<Action> step(Tree& tree, const Event& event, TimePoint now) {
  Step machine{tree, now};
  std::visit(machine, event);
  return machine.finish();
}

}  // namespace troupe::supervision
