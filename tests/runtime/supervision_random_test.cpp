// SPDX-License-Identifier: MIT
// Thousands of random events, sensible, stale and senseless ones, in any order. The driver checks after each
// what must always be true; here it is checked that in the end everything stops.
#include <random>

#include "supervision_driver.hpp"

namespace troupe::supervision {
namespace {

using namespace std::chrono_literals;

/// A keeper with children that do anything at any time.
class Chaos {
 public:
  explicit Chaos(std::uint32_t seed) : random_{seed} { keeper.tree.random_state = seed; }

  Dialogue keeper{};

  void act() {
    switch (below(16)) {
      case 0: return add_supervisor();
      case 1:
      case 2: return add_child();
      case 3:
      case 4:
      case 5:
      case 6: return void(keeper.ready(any_process()));
      case 7:
      case 8: return end_a_process();
      case 9:
      case 10:
      case 11: return clear_something();
      case 12: return void(keeper.wait(Duration{below(std::size_t{1} << below(31))}));
      case 13: return one_in(2) ? void(keeper.hung(any_process())) : void(keeper.stop(any_child()));
      case 14: return remove_something();
      case 15: return nonsense();
    }
  }

  /// Asks all that is left to stop, and lets no process end before it gets a SIGKILL, if `obedient` is false.
  void stop_everything(bool obedient) {
    for (SupervisorId id = 1; id <= supervisors_; ++id) keeper.stop_all(id);
    for (int round = 0; round < 10'000 && next_round(obedient); ++round) {}
  }

 private:
  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>{0, bound - 1}(random_);
  }
  bool one_in(std::size_t chance) { return below(chance) == 0; }
  static std::uint64_t id_of(std::uint64_t id) { return id; }
  template <class Item>
  static std::uint64_t id_of(const std::pair<const std::uint64_t, Item>& item) {
    return item.first;
  }
  /// Mostly one that is there; or one that was, or 0, or one that never was.
  template <class Ids>
  std::uint64_t any_id(const Ids& ids, std::uint64_t last) {
    return ids.empty() || one_in(8) ? below(last + 2) : one_of(ids);
  }
  template <class Ids>
  std::uint64_t one_of(const Ids& ids) {
    return id_of(*std::next(ids.begin(), static_cast<std::ptrdiff_t>(below(ids.size()))));
  }
  ChildId any_child() { return any_id(keeper.tree.children, children_); }
  ChildId any_process() { return one_in(8) ? any_child() : any_id(keeper.processes, children_); }
  SupervisorId any_supervisor() { return any_id(keeper.tree.supervisors, supervisors_); }
  ExitStatus any_status() {
    const ExitStatus all[] = {exit_0, exit_3, killed};
    return all[below(3)];
  }
  ChildPolicy any_policy() {
    const Duration times[] = {0ns, 1ns, 1ms, 1s, Duration::max()};
    return {.restart = static_cast<Restart>(below(3)),
            .daemon = one_in(3),
            .restarts_max = one_in(2) ? unlimited : static_cast<std::uint32_t>(below(4)),
            .window = times[below(5)],
            .backoff = {.first = times[below(4)], .max = times[below(4)], .jitter = 0.5},
            .ready_within = times[below(5)],
            .stop_within = times[below(4)]};
  }

  void add_supervisor() {
    if (keeper.tree.supervisors.size() > 12) return;
    supervisors_ = keeper.supervisor(one_in(2) ? 0 : any_process(),
                                     one_in(3) ? Lifetime::until_stopped : Lifetime::while_needed);
  }
  void add_child() {
    if (keeper.tree.children.size() > 60) return;
    children_ = keeper.child(any_policy(), any_supervisor(), one_in(2) ? 0 : any_process());
  }
  void end_a_process() {
    if (keeper.processes.empty()) return;
    const ChildId id = one_of(keeper.processes);
    const bool unborn = keeper.state(id) != ChildState::running && one_in(3);
    unborn ? keeper.fails_to_start(id, "no room") : keeper.dies(id, any_status(), one_in(2));
  }
  void clear_something() {
    if (!keeper.clearings.empty()) keeper.cleared(one_of(keeper.clearings));
  }
  void remove_something() {
    if (one_in(2)) return void(keeper.remove(any_child()));
    keeper.tell(one_in(8) ? Event{StopSupervisor{any_supervisor()}}
                          : Event{RemoveSupervisor{any_supervisor()}});
  }
  /// About incarnations that are gone or to come.
  void nonsense() {
    const ChildId id = any_child();
    const std::uint32_t wrong = keeper.incarnation(id) + (one_in(2) ? 1U : ~0U);
    const Event events[] = {Ready{id, wrong}, StartFailed{id, wrong, {}}, Ended{id, wrong, killed},
                            Cleared{id, wrong}, Hung{id, wrong}};
    EXPECT_EQ(keeper.tell(events[below(5)]), "");
  }

  /// False if there was nothing left to do.
  bool next_round(bool obedient) {
    if (!keeper.clearings.empty()) return keeper.cleared(*keeper.clearings.begin()), true;
    for (const ChildId id : keeper.processes) {
      const Child& child = keeper.at(id);
      const bool killed_for_good = child.state == ChildState::stopping && child.deadline == never;
      if ((obedient && child.state == ChildState::stopping) || killed_for_good)
        return keeper.dies(id, killed), true;
    }
    if (next_deadline(keeper.tree) == never) return false;
    return keeper.wait(keeper.pause()), true;
  }

  std::mt19937 random_;
  ChildId children_ = 0;
  SupervisorId supervisors_ = 0;
};

class RandomEvents : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(RandomEvents, BreakNoInvariantAndInTheEndEverythingStops) {
  Chaos chaos{GetParam()};
  for (int i = 0; i < 20'000 && !HasFailure(); ++i) chaos.act();
  chaos.stop_everything(GetParam() % 2 == 0);
  const Dialogue& keeper = chaos.keeper;
  for (const auto& [id, child] : keeper.tree.children) EXPECT_EQ(child.state, ChildState::stopped) << id;
  for (const auto& [id, supervisor] : keeper.tree.supervisors) EXPECT_TRUE(supervisor.ended) << id;
  EXPECT_TRUE(keeper.processes.empty());
  EXPECT_TRUE(keeper.clearings.empty());
  EXPECT_EQ(next_deadline(keeper.tree), never);
  EXPECT_GT(keeper.ended_roles.size(), 100U) << "or little has been tried";
  EXPECT_GT(keeper.history.size(), 1'000U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomEvents, ::testing::Range(1U, 9U));

}  // namespace
}  // namespace troupe::supervision
