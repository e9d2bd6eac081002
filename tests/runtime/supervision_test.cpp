// SPDX-License-Identifier: MIT
// The rules one by one, against a clock wound by hand. Of the scenarios that OTP's and Elixir's suites stand
// for, those that one_for_one has: start and stop, the twelve cases of restart × end, the stop's time-out and
// its brutal form, ends that race with a stop, spaced deaths and the limit, a loop of failing restarts,
// stopping a child while it is restarting, order of start and stop, a child that is hung.
#include "supervision_driver.hpp"

namespace troupe::supervision {
namespace {

using namespace std::chrono_literals;

/// Restarted at once, so that most tests need no clock.
const ChildPolicy prompt{.restarts_max = unlimited, .backoff = {.first = 0ns}};
const ChildPolicy patient{.restarts_max = unlimited, .backoff = {.first = 50ms, .max = 5s, .jitter = 0.0}};

class Supervision : public ::testing::Test {
 protected:
  Dialogue keeper{};
  const SupervisorId root = keeper.supervisor();
};

TEST_F(Supervision, ChildIsStartedAtOnceAndRunsWhenItIsReady) {
  const ChildId child = keeper.child(prompt, root);
  EXPECT_EQ(keeper.said, "start 1#1");
  EXPECT_EQ(keeper.pause(), 30s) << "the time to get ready";
  EXPECT_EQ(keeper.ready(child), "");
  EXPECT_EQ(keeper.state(child), ChildState::running);
  EXPECT_EQ(next_deadline(keeper.tree), never);
}

TEST_F(Supervision, EveryChangeOfStateIsToldInOrderWithItsReason) {
  const ChildId child = keeper.running(patient, root);
  keeper.is_gone(child, killed);
  keeper.wait(50ms);
  keeper.stop(child);
  keeper.is_gone(child, exit_0);
  EXPECT_EQ(keeper.history, (std::vector<std::string>{
                                "1#1 stopped to starting",
                                "1#1 starting to running",
                                "1#1 running to clearing (SIGKILL)",
                                "1#1 clearing to backing_off (SIGKILL)",
                                "1#2 backing_off to starting",
                                "1#2 starting to stopping",
                                "1#2 stopping to clearing (shutdown)",
                                "1#2 clearing to stopped (shutdown)",
                            }));
}

// ---- restart × cause ----------------------------------------------------------------------------

struct Case {
  ExitCause cause;
  const char* name;
  bool permanent, transient, temporary;  ///< whether the child runs again
};
const Case cases[] = {
    {ExitCause::normal, "normal", true, false, false},
    {ExitCause::shutdown, "shutdown", false, false, false},
    {ExitCause::failed, "failed", true, true, false},
    {ExitCause::signaled, "signaled", true, true, false},
    {ExitCause::hung, "hung", true, true, false},
    {ExitCause::init_failed, "init_failed", true, true, false},
};

/// Lets a started child end for `cause`; the answer is that to its Cleared.
std::string end_for(Dialogue& keeper, ChildId child, ExitCause cause) {
  if (cause == ExitCause::init_failed) return keeper.is_gone(child, exit_3);
  keeper.ready(child);
  if (cause == ExitCause::shutdown) keeper.stop(child);
  if (cause == ExitCause::hung) keeper.hung(child);
  if (cause == ExitCause::normal || cause == ExitCause::shutdown) return keeper.is_gone(child, exit_0);
  return keeper.is_gone(child, cause == ExitCause::failed ? exit_3 : killed);
}

class RestartCase : public ::testing::TestWithParam<Case> {
 protected:
  void expect(Restart restart, bool runs_again) {
    Dialogue keeper;
    ChildPolicy policy = prompt;
    policy.restart = restart;
    const ChildId child = keeper.child(policy, keeper.supervisor(0, Lifetime::until_stopped));
    const std::string answer = end_for(keeper, child, GetParam().cause);
    EXPECT_EQ(keeper.at(child).reason.cause, GetParam().cause);
    EXPECT_EQ(answer, runs_again ? "start 1#2" : "end 1 (" + to_string(keeper.at(child).reason) + ")");
    EXPECT_EQ(keeper.state(child), runs_again ? ChildState::starting : ChildState::stopped);
  }
};
TEST_P(RestartCase, OfAPermanentChild) { expect(Restart::permanent, GetParam().permanent); }
TEST_P(RestartCase, OfATransientChild) { expect(Restart::transient, GetParam().transient); }
TEST_P(RestartCase, OfATemporaryChild) { expect(Restart::temporary, GetParam().temporary); }
INSTANTIATE_TEST_SUITE_P(Causes, RestartCase, ::testing::ValuesIn(cases),
                         [](const auto& instance) { return instance.param.name; });

TEST_F(Supervision, StoppedChildStaysListedUntilItIsRemoved) {
  ChildPolicy policy = prompt;
  policy.restart = Restart::temporary;
  const ChildId child = keeper.running(policy, root);
  EXPECT_EQ(keeper.remove(child), "") << "it runs";
  EXPECT_EQ(keeper.is_gone(child, exit_3), "end 1 (exit 3), supervisor 1 ends");
  EXPECT_EQ(keeper.tree.supervisors.at(root).children, std::vector<ChildId>{child});
  keeper.remove(child);
  EXPECT_TRUE(keeper.tree.children.empty());
  EXPECT_TRUE(keeper.tree.supervisors.at(root).children.empty());
}

// ---- before it is ready -------------------------------------------------------------------------

TEST_F(Supervision, AnyEndBeforeReadyIsAFailedInitEvenExit0) {
  const ChildId child = keeper.child(prompt, root);
  EXPECT_EQ(keeper.is_gone(child, exit_0), "start 1#2");
  EXPECT_EQ(keeper.at(child).reason,
            (ExitReason{ExitCause::init_failed, exit_0, "ended before it was ready"}));
}

TEST_F(Supervision, StartThatFailsHasNothingToClearAndIsTriedAgainAfterItsPause) {
  const ChildId child = keeper.child(patient, root);
  EXPECT_EQ(keeper.fails_to_start(child, "clone: no processes left"), "");
  EXPECT_EQ(keeper.state(child), ChildState::backing_off);
  EXPECT_EQ(to_string(keeper.at(child).reason), "init failed: clone: no processes left");
  EXPECT_EQ(keeper.wait(50ms), "start 1#2");
}

TEST_F(Supervision, ChildThatIsNotReadyInTimeIsKilledAndCountsAsFailedInit) {
  ChildPolicy policy = prompt;
  policy.ready_within = 2s;
  const ChildId child = keeper.child(policy, root);
  EXPECT_EQ(keeper.wait(2s - 1ns), "");
  EXPECT_EQ(keeper.wait(1ns), "SIGKILL 1");
  EXPECT_EQ(keeper.ready(child), "") << "too late";
  EXPECT_EQ(keeper.state(child), ChildState::stopping);
  EXPECT_EQ(keeper.wait(1h), "") << "there is no rung above SIGKILL";
  EXPECT_EQ(keeper.is_gone(child, killed), "start 1#2");
  EXPECT_EQ(to_string(keeper.at(child).reason), "init failed (SIGKILL): not ready within 2 s");
  keeper.ready(child);
  keeper.is_gone(child, exit_3);
  EXPECT_EQ(to_string(keeper.at(child).reason), "exit 3") << "the new one is judged anew";
}

TEST_F(Supervision, ZeroAndMaxMeanThatGettingReadyHasNoLimit) {
  for (const Duration none : {Duration::zero(), Duration::max()}) {
    ChildPolicy policy = prompt;
    policy.ready_within = none;
    keeper.child(policy, root);
    EXPECT_EQ(next_deadline(keeper.tree), never);
  }
}

// ---- hung ---------------------------------------------------------------------------------------

TEST_F(Supervision, HungChildIsKilledAtOnceAndReplaced) {
  const ChildId child = keeper.running(prompt, root);
  EXPECT_EQ(keeper.hung(child), "SIGKILL 1");
  EXPECT_EQ(keeper.hung(child), "");
  EXPECT_EQ(keeper.is_gone(child, killed), "start 1#2");
  EXPECT_EQ(to_string(keeper.at(child).reason), "hung (no progress, then SIGKILL)");
  EXPECT_FALSE(keeper.at(child).judged_hung) << "the new one is not";
}

TEST_F(Supervision, ChildMayBeHungBeforeItIsReady) {
  const ChildId child = keeper.child(prompt, root);
  EXPECT_EQ(keeper.hung(child), "SIGKILL 1");
  EXPECT_EQ(next_deadline(keeper.tree), never);
  keeper.is_gone(child, killed);
  EXPECT_EQ(keeper.at(child).reason.cause, ExitCause::hung);
}

// ---- window -------------------------------------------------------------------------------------

class Window : public Supervision {
 protected:
  ChildPolicy policy(std::uint32_t restarts_max) {
    ChildPolicy limited = prompt;
    limited.restarts_max = restarts_max;
    return limited;
  }
};

TEST_F(Window, SpacedDeathsNeverGiveUpAChild) {
  const ChildId child = keeper.child(policy(1), root);
  for (int i = 0; i < 100; ++i) {
    keeper.wait(10s + 1ns);
    ASSERT_EQ(keeper.is_gone(child, exit_3), "start 1#" + std::to_string(i + 2));
  }
}

TEST_F(Window, OneRestartTooManyWithinItGivesUpTheChildAndNamesTheLastEnd) {
  const ChildId child = keeper.child(policy(2), root);
  keeper.running(prompt, root);
  keeper.is_gone(child, exit_3);
  keeper.ready(child);
  keeper.is_gone(child, exit_3);
  keeper.ready(child);
  keeper.wait(10s);
  EXPECT_EQ(keeper.is_gone(child, killed), "end 1 (given up: 3 ends within 10 s, the last: SIGKILL)");
  EXPECT_EQ(keeper.state(2), ChildState::running) << "its siblings go on";
}

TEST_F(Window, ZeroMeansThatTheFirstDeathIsTheLast) {
  const ChildId child = keeper.running(policy(0), root);
  EXPECT_EQ(keeper.is_gone(child, exit_3),
            "end 1 (given up: 1 end within 10 s, the last: exit 3), supervisor 1 ends");
}

TEST_F(Window, CountsAttemptsToStartAsWell) {
  const ChildId child = keeper.child(policy(1), root);
  EXPECT_EQ(keeper.fails_to_start(child, "no room"), "start 1#2");
  EXPECT_EQ(keeper.fails_to_start(child, "no room"),
            "end 1 (given up: 2 ends within 10 s, the last: init failed: no room), supervisor 1 ends");
}

TEST_F(Window, UnlimitedRestartsNeverGiveUpAndTakeNoMemory) {
  const ChildId child = keeper.child(policy(unlimited), root);
  for (int i = 0; i < 1000; ++i) keeper.is_gone(child, exit_3);
  EXPECT_EQ(keeper.incarnation(child), 1001U);
  EXPECT_TRUE(keeper.at(child).restarts.empty());
}

// ---- back-off -----------------------------------------------------------------------------------

TEST_F(Supervision, PauseDoublesOverIdleIncarnationsAndOneThatWorkedIsReplacedAtOnce) {
  const ChildId child = keeper.child(patient, root);
  int incarnation = 1;
  for (const Duration pause : {50ms, 100ms, 200ms, 400ms}) {
    EXPECT_EQ(keeper.is_gone(child, exit_3), "");
    EXPECT_EQ(keeper.pause(), pause);
    EXPECT_EQ(keeper.wait(pause - 1ns), "");
    EXPECT_EQ(keeper.wait(1ns), "start 1#" + std::to_string(++incarnation));
  }
  keeper.ready(child);
  EXPECT_EQ(keeper.is_gone(child, exit_3, true), "start 1#6");
  EXPECT_EQ(keeper.is_gone(child, exit_3), "");
  EXPECT_EQ(keeper.pause(), 50ms) << "from the beginning again";
}

TEST_F(Supervision, JitterIsPartOfTheDataSoThatARunCanBeRepeated) {
  ChildPolicy policy = patient;
  policy.backoff.jitter = 0.2;
  Dialogue again;
  again.supervisor();
  for (Dialogue* one : {&keeper, &again}) one->is_gone(one->child(policy, root), exit_3);
  EXPECT_EQ(keeper.pause(), again.pause());
  EXPECT_NE(keeper.pause(), 50ms);
  EXPECT_GE(keeper.pause(), 40ms);
  EXPECT_LT(keeper.pause(), 60ms);
}

// ---- nothing changes ----------------------------------------------------------------------------

TEST_F(Supervision, StaleIncarnationsAndUnknownIdsChangeNothing) {
  const ChildId child = keeper.child(prompt, root);
  keeper.is_gone(child, exit_3);
  for (const std::uint32_t incarnation : {0U, 1U, 3U}) {
    for (const ChildId id : {child, ChildId{99}}) {
      EXPECT_EQ(keeper.tell(Ready{id, incarnation}), "");
      EXPECT_EQ(keeper.tell(StartFailed{id, incarnation, {}}), "");
      EXPECT_EQ(keeper.tell(Ended{id, incarnation, killed}), "");
      EXPECT_EQ(keeper.tell(Cleared{id, incarnation}), "");
      EXPECT_EQ(keeper.tell(Hung{id, incarnation}), "");
    }
  }
  for (const Event& event : {Event{StopChild{99}}, Event{StopSupervisor{99}}, Event{RemoveChild{99}},
                             Event{RemoveSupervisor{99}}, Event{SetLifetime{99}}, Event{Tick{}}}) {
    EXPECT_EQ(keeper.tell(event), "");
  }
  EXPECT_EQ(keeper.state(child), ChildState::starting);
  EXPECT_EQ(keeper.incarnation(child), 2U);
}

TEST_F(Supervision, EventsThatCannotBeInAStateAreIgnoredInIt) {
  const ChildId child = keeper.running(prompt, root);
  EXPECT_EQ(keeper.tell(Cleared{child, 1}), "") << "it runs";
  keeper.dies(child, exit_3);
  EXPECT_EQ(keeper.tell(Ended{child, 1, killed}), "") << "it is dead already";
  EXPECT_EQ(keeper.hung(child), "");
  EXPECT_EQ(keeper.ready(child), "");
  EXPECT_EQ(keeper.at(child).reason.cause, ExitCause::failed);
  EXPECT_EQ(keeper.cleared(child), "start 1#2");
}

}  // namespace
}  // namespace troupe::supervision
