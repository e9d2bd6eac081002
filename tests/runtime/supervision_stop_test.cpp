// SPDX-License-Identifier: MIT
// How children and supervisors stop: the ladder, the order, daemons, and what ends with a parent.
#include "supervision_driver.hpp"

namespace troupe::supervision {
namespace {

using namespace std::chrono_literals;

const ChildPolicy prompt{.restarts_max = unlimited, .backoff = {.first = 0ns}};
const ChildPolicy daemon{.daemon = true, .restarts_max = unlimited, .backoff = {.first = 0ns}};
const ChildPolicy patient{.restarts_max = unlimited, .backoff = {.first = 50ms, .max = 5s, .jitter = 0.0}};
const ChildPolicy brutal{.stop_within = 0ns};

class Stop : public ::testing::Test {
 protected:
  Dialogue keeper{};
  const SupervisorId root = keeper.supervisor(0, Lifetime::until_stopped);
};

TEST_F(Stop, AsksThenTerminatesAtHalfTheTimeThenKillsAtItsEnd) {
  const ChildId child = keeper.running({.stop_within = 4s}, root);
  EXPECT_EQ(keeper.stop(child), "ask 1");
  EXPECT_EQ(keeper.wait(2s - 1ns), "");
  EXPECT_EQ(keeper.wait(1ns), "SIGTERM 1");
  EXPECT_EQ(keeper.wait(2s - 1ns), "");
  EXPECT_EQ(keeper.stop(child), "") << "asked already";
  EXPECT_EQ(keeper.wait(1ns), "SIGKILL 1");
  EXPECT_EQ(next_deadline(keeper.tree), never) << "nothing is left but to wait for the kernel";
  EXPECT_EQ(keeper.is_gone(child, killed), "end 1 (shutdown (SIGKILL))");
}

TEST_F(Stop, LateTickClimbsOneRungOnlyAndLeavesTheSecondHalfWhole) {
  const ChildId child = keeper.running({.stop_within = 4s}, root);
  keeper.stop(child);
  EXPECT_EQ(keeper.wait(1min), "SIGTERM 1");
  EXPECT_EQ(keeper.pause(), 2s);
}

TEST_F(Stop, WithoutATimeLimitIsWaitedForEver) {
  const ChildId child = keeper.running({.stop_within = Duration::max()}, root);
  EXPECT_EQ(keeper.stop(child), "ask 1");
  EXPECT_EQ(keeper.wait(24h * 365), "");
}

TEST_F(Stop, WithZeroTimeKillsAtOnce) {
  const ChildId child = keeper.running(brutal, root);
  EXPECT_EQ(keeper.stop(child), "SIGKILL 1");
  EXPECT_EQ(next_deadline(keeper.tree), never);
  EXPECT_EQ(keeper.is_gone(child, killed), "end 1 (shutdown (SIGKILL))");
}

TEST_F(Stop, OfAStartingChildAsksAndIgnoresThatItGetsReady) {
  const ChildId child = keeper.child(prompt, root);
  EXPECT_EQ(keeper.stop(child), "ask 1");
  EXPECT_EQ(keeper.ready(child), "");
  EXPECT_EQ(keeper.state(child), ChildState::stopping);
  EXPECT_EQ(keeper.pause(), 2500ms) << "the ladder's, not that of getting ready";
  EXPECT_EQ(keeper.is_gone(child, exit_0), "end 1 (shutdown)");
}

TEST_F(Stop, OfAChildWhoseStartThenFailsIsDone) {
  const ChildId child = keeper.child(prompt, root);
  keeper.stop(child);
  EXPECT_EQ(keeper.fails_to_start(child, "no room"), "end 1 (shutdown: no room)");
}

TEST_F(Stop, WhileBackingOffCallsTheRestartOff) {
  const ChildId child = keeper.child(patient, root);
  keeper.is_gone(child, killed);
  EXPECT_EQ(keeper.stop(child), "end 1 (shutdown (SIGKILL): while it waited for its restart)");
  EXPECT_EQ(next_deadline(keeper.tree), never);
  EXPECT_EQ(keeper.stop(child), "") << "stopped already";
}

TEST_F(Stop, WhileClearingPreventsTheRestartAndKeepsTheReason) {
  const ChildId child = keeper.running(prompt, root);
  keeper.dies(child, exit_3);
  EXPECT_EQ(keeper.stop(child), "");
  EXPECT_EQ(keeper.cleared(child), "end 1 (exit 3)");
}

TEST_F(Stop, OfAHungChildThatIsBeingKilledPreventsTheRestart) {
  const ChildId child = keeper.running(prompt, root);
  keeper.hung(child);
  EXPECT_EQ(keeper.stop(child), "");
  EXPECT_EQ(keeper.is_gone(child, killed), "end 1 (shutdown (SIGKILL))");
}

TEST_F(Stop, OfASupervisorGoesFromTheYoungestToTheOldestAndWaitsForEach) {
  for (int i = 0; i < 3; ++i) keeper.running(prompt, root);
  EXPECT_EQ(keeper.stop_all(root), "ask 3");
  EXPECT_EQ(keeper.stop_all(root), "");
  EXPECT_EQ(keeper.dies(3, exit_0), "clear 3#1");
  EXPECT_EQ(keeper.cleared(3), "end 3 (shutdown), ask 2") << "not before all of it is gone";
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (shutdown), ask 1");
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (shutdown), supervisor 1 ends");
  EXPECT_EQ(keeper.stop_all(root), "");
}

TEST_F(Stop, OfAnEmptySupervisorEndsItAtOnceAndOnce) {
  EXPECT_EQ(keeper.stop_all(root), "supervisor 1 ends");
  EXPECT_EQ(keeper.stop_all(root), "");
  EXPECT_EQ(keeper.tell(RemoveSupervisor{root}), "");
  EXPECT_TRUE(keeper.tree.supervisors.empty());
}

TEST_F(Stop, ChildrenThatEndByThemselvesMeanwhileAreNotRestartedAndKeepTheirReasons) {
  for (int i = 0; i < 4; ++i) keeper.running(prompt, root);
  keeper.stop_all(root);
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (exit 0)");
  EXPECT_EQ(keeper.is_gone(3, exit_3), "end 3 (exit 3)");
  EXPECT_EQ(keeper.dies(2, killed), "clear 2#1");
  EXPECT_EQ(keeper.is_gone(4, exit_0), "end 4 (shutdown)") << "2 is on its way and is waited for";
  EXPECT_EQ(keeper.cleared(2), "end 2 (SIGKILL), supervisor 1 ends");
}

TEST_F(Stop, ChildThatBacksOffWaitsForItsTurnAndIsNotStartedMeanwhile) {
  const ChildId waiting = keeper.child(patient, root);
  const ChildId running = keeper.running(prompt, root);
  keeper.is_gone(waiting, exit_3);
  EXPECT_EQ(keeper.stop_all(root), "ask 2");
  EXPECT_EQ(keeper.wait(1s), "");
  EXPECT_EQ(
      keeper.is_gone(running, exit_0),
      "end 2 (shutdown), end 1 (shutdown (exit 3): while it waited for its restart), supervisor 1 ends");
}

TEST_F(Stop, NewChildrenOfASupervisorThatStopsAreAnsweredAtOnce) {
  keeper.running(prompt, root);
  keeper.stop_all(root);
  const ChildId late = keeper.child(prompt, root);
  EXPECT_EQ(keeper.said, "end 2 (shutdown: its supervisor is stopping)");
  EXPECT_EQ(keeper.incarnation(late), 0U);
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (shutdown), supervisor 1 ends");
  EXPECT_EQ(keeper.tell(RemoveSupervisor{root}), "");
  EXPECT_TRUE(keeper.tree.children.empty());
  keeper.child(prompt, root);
  EXPECT_EQ(keeper.said, "end 3 (shutdown: its supervisor has ended)");
}

TEST_F(Stop, RemovalHasToWaitForTheEnd) {
  const ChildId child = keeper.running(prompt, root);
  keeper.tell(RemoveSupervisor{root});
  keeper.remove(child);
  EXPECT_EQ(keeper.state(child), ChildState::running);
}

// ---- daemons ------------------------------------------------------------------------------------

class Daemons : public ::testing::Test {
 protected:
  Dialogue keeper{};
  const SupervisorId root = keeper.supervisor();
};

TEST_F(Daemons, AreStoppedYoungestFirstWhenTheLastOtherChildHasEnded) {
  const ChildPolicy once{.restart = Restart::temporary};
  keeper.running(daemon, root);
  keeper.running(once, root);
  keeper.running(daemon, root);
  keeper.running(once, root);
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (exit 0)");
  EXPECT_EQ(keeper.dies(4, exit_3), "clear 4#1");
  EXPECT_EQ(keeper.cleared(4), "end 4 (exit 3), ask 3");
  EXPECT_EQ(keeper.is_gone(3, exit_0), "end 3 (shutdown), ask 1");
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (shutdown), supervisor 1 ends");
}

TEST_F(Daemons, AloneDoNotEndTheirSupervisor) {
  keeper.running({.restart = Restart::temporary, .daemon = true}, root);
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (exit 0)");
  keeper.running(daemon, root);
  EXPECT_EQ(keeper.said, "start 2#1") << "still open for more";
}

TEST_F(Daemons, AreKeptWhileAnotherChildOnlyRestarts) {
  keeper.running(daemon, root);
  keeper.running(patient, root);
  EXPECT_EQ(keeper.is_gone(2, exit_3), "");
  EXPECT_EQ(keeper.wait(50ms), "start 2#2");
}

TEST_F(Daemons, OutliveTheOthersUnderASupervisorThatLastsUntilItIsStopped) {
  keeper.tell(SetLifetime{root, Lifetime::until_stopped});
  keeper.running(daemon, root);
  keeper.running({.restart = Restart::temporary}, root);
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (exit 0)");
  EXPECT_EQ(keeper.tell(SetLifetime{root, Lifetime::while_needed}), "ask 1") << "nothing needs it any more";
  EXPECT_EQ(keeper.is_gone(1, exit_0), "end 1 (shutdown), supervisor 1 ends");
}

// ---- what ends with a parent --------------------------------------------------------------------

class Nested : public Stop {
 protected:
  const ChildId parent = keeper.running(prompt, root);
};

TEST_F(Nested, ChildrenEndWithTheIncarnationThatAskedForThemBeforeItsReplacementStarts) {
  const ChildId first = keeper.running(prompt, root, parent);
  const ChildId second = keeper.running(prompt, root, parent);
  EXPECT_EQ(keeper.dies(parent, killed), "clear 1#1, ask 3, ask 2");
  EXPECT_EQ(keeper.cleared(parent), "") << "its children are still there";
  EXPECT_EQ(keeper.is_gone(first, exit_0), "end 2 (shutdown)");
  EXPECT_EQ(keeper.is_gone(second, killed), "end 3 (shutdown (SIGKILL)), start 1#2");
}

TEST_F(Nested, ReplacementWaitsForItsPredecessorsStraysToo) {
  const ChildId child = keeper.running(prompt, root, parent);
  keeper.dies(parent, killed);
  EXPECT_EQ(keeper.is_gone(child, exit_0), "end 2 (shutdown)");
  EXPECT_EQ(keeper.cleared(parent), "start 1#2");
}

TEST_F(Nested, SupervisorOfADeadOwnerStopsItsChildrenInOrder) {
  const SupervisorId inner = keeper.supervisor(parent);
  keeper.running(prompt, inner, parent);
  keeper.running(prompt, inner, parent);
  EXPECT_EQ(keeper.dies(parent, killed), "clear 1#1, ask 3");
  EXPECT_EQ(keeper.cleared(parent), "");
  EXPECT_EQ(keeper.is_gone(3, exit_0), "end 3 (shutdown), ask 2");
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (shutdown), supervisor 2 ends, start 1#2");
}

TEST_F(Nested, ChildUnderASupervisorOfAnotherOwnerEndsWithItsOwnParent) {
  const ChildId other = keeper.running(prompt, root);
  const SupervisorId inner = keeper.supervisor(other);
  keeper.running(prompt, inner, parent);
  EXPECT_EQ(keeper.dies(parent, killed), "clear 1#1, ask 3");
}

TEST_F(Nested, ChildrenEndAlsoWithAParentWhoseStartIsSaidToHaveFailed) {
  const ChildId starting = keeper.child(prompt, root);
  keeper.running(prompt, root, starting);
  EXPECT_EQ(keeper.fails_to_start(starting, "lost"), "ask 3");
  EXPECT_EQ(keeper.is_gone(3, exit_0), "end 3 (shutdown), start 2#2");
}

TEST_F(Nested, EveryIncarnationIsClearedAnew) {
  EXPECT_EQ(keeper.is_gone(parent, killed), "start 1#2");
  keeper.running(prompt, root, parent);
  keeper.dies(parent, killed);
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (shutdown)") << "strays of the second may still be there";
}

TEST_F(Nested, ReplacementWaitsForItsPredecessorsSupervisorWhoeverAskedForItsChildren) {
  const SupervisorId inner = keeper.supervisor(parent);
  keeper.running(prompt, inner);
  EXPECT_EQ(keeper.dies(parent, killed), "clear 1#1, ask 2");
  EXPECT_EQ(keeper.cleared(parent), "");
  EXPECT_EQ(keeper.is_gone(2, exit_0), "end 2 (shutdown), supervisor 2 ends, start 1#2");
}

TEST_F(Nested, StopOfTheOuterSupervisorReachesTheInnerOneFirstToEnd) {
  const SupervisorId inner = keeper.supervisor(parent);
  keeper.running(prompt, inner, parent);
  EXPECT_EQ(keeper.stop_all(root), "ask 1");
  EXPECT_EQ(keeper.dies(parent, exit_0), "clear 1#1, ask 2");
  EXPECT_EQ(keeper.cleared(parent), "");
  EXPECT_EQ(keeper.is_gone(2, exit_0),
            "end 2 (shutdown), supervisor 2 ends, end 1 (shutdown), supervisor 1 ends");
}

TEST_F(Nested, NothingIsStartedForAParentWhoseProcessIsGoneOrStopping) {
  keeper.stop(parent);
  keeper.child(prompt, root, parent);
  EXPECT_EQ(keeper.said, "end 2 (shutdown: its parent has ended)");
  keeper.child(prompt, root, 99);
  EXPECT_EQ(keeper.said, "end 3 (shutdown: its parent has ended)");
  keeper.supervisor(parent);
  EXPECT_EQ(keeper.said, "supervisor 2 ends");
  EXPECT_EQ(keeper.is_gone(parent, exit_0), "end 1 (shutdown)");
}

TEST_F(Nested, ChildThatBacksOffEndsWithItsParent) {
  const ChildId child = keeper.child(patient, root, parent);
  keeper.is_gone(child, exit_3);
  EXPECT_EQ(keeper.dies(parent, exit_3),
            "clear 1#1, end 2 (shutdown (exit 3): while it waited for its restart)");
  EXPECT_EQ(keeper.cleared(parent), "start 1#2");
}

TEST_F(Nested, DeepTreeUnwindsWithoutADeepStack) {
  constexpr ChildId depth = 20'000;
  Tree& tree = keeper.tree;
  const auto tell = [&](const Event& event) { return step(tree, event, keeper.now); };
  for (ChildId id = 2; id <= depth; ++id) {
    tell(AddChild{{.id = id, .supervisor = root, .parent = id - 1, .policy = prompt}});
  }
  for (ChildId id = 1; id <= depth; ++id) tell(Ended{id, 1, killed});
  for (ChildId id = 1; id < depth; ++id) EXPECT_EQ(tell(Cleared{id, 1}).size(), 0U);
  EXPECT_EQ(tell(Cleared{depth, 1}).size(), 2 * depth) << "all end, and the first one starts again";
  EXPECT_EQ(keeper.at(1).incarnation, 2U);
}

}  // namespace
}  // namespace troupe::supervision
