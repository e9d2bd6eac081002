// SPDX-License-Identifier: MIT
#pragma once
// Plays the keeper's part towards the supervision rules: hands them events, winds the clock by hand, and
// turns what they want done into words, so that a test reads as a dialogue:
//
//   EXPECT_EQ(keeper.dies(worker, killed), "clear 1#1");
//
// It also holds the rules to what must be true after every single event.

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <troupe/runtime/supervision.hpp>
#include <vector>

namespace troupe::supervision {

inline constexpr ExitStatus exit_0 = Exited{0};
inline constexpr ExitStatus exit_3 = Exited{3};
inline constexpr ExitStatus killed = Signaled{SIGKILL, false};

inline std::string name_of(ChildState state) {
  constexpr const char* names[] = {"starting", "running", "stopping", "clearing", "backing_off", "stopped"};
  return names[static_cast<std::size_t>(state)];
}
inline std::ostream& operator<<(std::ostream& out, ChildState state) { return out << name_of(state); }

class Dialogue {
 public:
  Tree tree{};
  TimePoint now{std::chrono::hours{1}};
  std::vector<std::string> history{};  ///< the transitions, "1#1 running to clearing (SIGKILL)"
  std::map<ChildId, ExitReason> ended_roles{};
  std::set<SupervisorId> ended_supervisors{};
  std::set<ChildId> processes{};  ///< started, and neither reaped nor failed to start
  std::set<ChildId> clearings{};  ///< reaped, and Cleared not said

  std::string tell(const Event& event) {
    answer_.clear();
    for (const Action& action : step(tree, event, now))
      std::visit([this](const auto& a) { hear(a); }, action);
    check_tree();
    return std::exchange(answer_, {});
  }

  SupervisorId supervisor(ChildId owner = 0, Lifetime lifetime = Lifetime::while_needed) {
    said = tell(AddSupervisor{++last_supervisor_, owner, lifetime});
    return last_supervisor_;
  }
  ChildId child(const ChildPolicy& policy, SupervisorId supervisor, ChildId parent = 0) {
    said =
        tell(AddChild{{.id = ++last_child_, .supervisor = supervisor, .parent = parent, .policy = policy}});
    return last_child_;
  }
  /// A child that has said ready.
  ChildId running(const ChildPolicy& policy, SupervisorId supervisor, ChildId parent = 0) {
    const ChildId id = child(policy, supervisor, parent);
    EXPECT_EQ(ready(id), "");
    return id;
  }

  std::string ready(ChildId id) { return tell(Ready{id, incarnation(id)}); }
  std::string hung(ChildId id) { return tell(Hung{id, incarnation(id)}); }
  std::string stop(ChildId id) { return tell(StopChild{id}); }
  std::string stop_all(SupervisorId id) { return tell(StopSupervisor{id}); }
  std::string remove(ChildId id) { return tell(RemoveChild{id}); }
  std::string fails_to_start(ChildId id, std::string why) {
    processes.erase(id);
    return tell(StartFailed{id, incarnation(id), {ExitCause::init_failed, exit_0, std::move(why)}});
  }
  std::string dies(ChildId id, ExitStatus status, bool acknowledged = false, std::string detail = "") {
    processes.erase(id);
    return tell(Ended{id, incarnation(id), status, acknowledged, std::move(detail)});
  }
  std::string cleared(ChildId id) {
    clearings.erase(id);
    return tell(Cleared{id, incarnation(id)});
  }
  /// Dies and is cleared in one go; the answer is that to Cleared.
  std::string is_gone(ChildId id, ExitStatus status, bool acknowledged = false) {
    EXPECT_EQ(dies(id, status, acknowledged), "clear " + with_incarnation(id, incarnation(id)));
    return cleared(id);
  }
  /// Winds the clock on and lets what is due happen.
  std::string wait(Duration duration) {
    now += duration;
    std::string answer = tell(Tick{});
    EXPECT_GT(next_deadline(tree), now) << "a keeper that waits for the past spins";
    return answer;
  }
  /// The time until the next Tick.
  Duration pause() const { return next_deadline(tree) - now; }

  const Child& at(ChildId id) const { return tree.children.at(id); }
  ChildState state(ChildId id) const { return at(id).state; }
  std::uint32_t incarnation(ChildId id) const {
    const auto found = tree.children.find(id);
    return found == tree.children.end() ? 1 : found->second.incarnation;
  }

  std::string said{};  ///< the answer to the last `supervisor` or `child`

 private:
  static std::string with_incarnation(ChildId id, std::uint32_t incarnation) {
    return std::to_string(id) + "#" + std::to_string(incarnation);
  }
  void say(const std::string& words) { answer_ += (answer_.empty() ? "" : ", ") + words; }

  void hear(const Start& start) {
    say("start " + with_incarnation(start.id, start.incarnation));
    EXPECT_TRUE(processes.insert(start.id).second) << "a second process of child " << start.id;
    EXPECT_FALSE(clearings.contains(start.id)) << "started before all of its predecessor was gone";
    EXPECT_FALSE(ended_roles.contains(start.id)) << "started after its role had ended";
    EXPECT_TRUE(at(start.id).nested.empty()) << "started before its predecessor's children had stopped";
  }
  void hear(const AskToStop& ask) {
    say("ask " + std::to_string(ask.id));
    EXPECT_TRUE(processes.contains(ask.id));
  }
  void hear(const Signal& signal) {
    say(to_string(ExitStatus{Signaled{signal.number, false}}) + " " + std::to_string(signal.id));
    EXPECT_TRUE(processes.contains(signal.id));
  }
  void hear(const Clear& clear) {
    say("clear " + with_incarnation(clear.id, clear.incarnation));
    EXPECT_TRUE(clearings.insert(clear.id).second);
  }
  void hear(const Transition& move) {
    const auto last = last_state_.try_emplace(move.id, ChildState::stopped).first;
    EXPECT_EQ(std::exchange(last->second, move.to), move.from) << "a transition is missing";
    const bool has_reason = move.to == ChildState::clearing || move.to == ChildState::backing_off ||
                            move.to == ChildState::stopped;
    history.push_back(with_incarnation(move.id, move.incarnation) + " " + name_of(move.from) + " to " +
                      name_of(move.to) + (has_reason ? " (" + to_string(move.reason) + ")" : ""));
  }
  void hear(const RoleEnded& ended) {
    say("end " + std::to_string(ended.id) + " (" + to_string(ended.reason) + ")");
    EXPECT_TRUE(ended_roles.emplace(ended.id, ended.reason).second) << "a role ends once";
    EXPECT_FALSE(processes.contains(ended.id));
  }
  void hear(const SupervisorEnded& ended) {
    say("supervisor " + std::to_string(ended.id) + " ends");
    EXPECT_TRUE(ended_supervisors.insert(ended.id).second) << "a supervisor ends once";
    for (const ChildId id : tree.supervisors.at(ended.id).children) EXPECT_EQ(state(id), ChildState::stopped);
  }

  void check_tree() const {
    std::set<std::pair<TimePoint, ChildId>> deadlines;
    for (const auto& [id, child] : tree.children) {
      if (child.deadline != never) deadlines.emplace(child.deadline, id);
      const bool limited = child.policy.restarts_max != unlimited;
      EXPECT_LE(child.restarts.size(), limited ? child.policy.restarts_max + 1 : 0U) << "memory that grows";
    }
    EXPECT_EQ(tree.deadlines, deadlines) << "the index has lost touch";
    for (const auto& [id, supervisor] : tree.supervisors) check_supervisor(supervisor);
  }
  void check_supervisor(const Supervisor& supervisor) const {
    std::vector<ChildId> live;
    for (const ChildId id : supervisor.children) {
      if (state(id) != ChildState::stopped) live.push_back(id);
    }
    EXPECT_EQ(supervisor.live, live);
    const auto counts = [this](ChildId id) { return !at(id).policy.daemon; };
    EXPECT_EQ(supervisor.live_non_daemons, std::count_if(live.begin(), live.end(), counts));
  }

  std::string answer_{};
  std::map<ChildId, ChildState> last_state_{};
  ChildId last_child_ = 0;
  SupervisorId last_supervisor_ = 0;
};

}  // namespace troupe::supervision
