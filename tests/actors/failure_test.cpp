// SPDX-License-Identifier: MIT
// Actors that throw, crash, hang and are killed: what becomes of them, of the message in hand and of its
// asker.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <thread>

#include "actor_test.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using supervision::ChildState;
using test::at_once;
using test::Gate;
using test::Inbox;
using test::patience;

struct Ping {
  using reply = std::uint32_t;  // the incarnation
};
struct Throw {
  using reply = std::uint32_t;  // the attempt
  std::string text{};
  std::uint32_t times = 0;
};
enum class Death { abort, segfault, kill, exit };
struct Die {
  using reply = int;
  Death how = Death::abort;
  std::string inbox{};
};
struct Spin {
  using reply = std::uint32_t;
  std::string inbox{};
  bool showing_progress = false;
};
struct Fail {
  std::string why{};
};

struct Victim {
  using accepts = messages<Ping, Throw, Die, Spin, Fail>;
  std::uint32_t on(const Ping&, Self& self) { return self.incarnation(); }
  std::uint32_t on(const Throw& message, Self& self) {
    if (self.attempt() <= message.times) throw std::runtime_error{message.text};
    return self.attempt();
  }
  int on(const Die& message, Self& self) {
    if (!message.inbox.empty()) test::say(message.inbox, std::to_string(self.attempt()));
    switch (message.how) {
      case Death::abort: std::abort();
      case Death::segfault: ::raise(SIGSEGV); break;
      case Death::kill: ::raise(SIGKILL); break;
      case Death::exit: ::_exit(3);
    }
    return 0;
  }
  std::uint32_t on(const Spin& message, Self& self) {
    if (self.attempt() > 1) return self.attempt();
    test::say(message.inbox, "spins");
    const TimePoint end = message.showing_progress ? deadline_in(400ms) : never;
    while (Clock::now() < end)
      if (message.showing_progress) self.progress();
    return self.attempt();
  }
  void on(const Fail& message, Self& self) { self.fail(message.why); }
};

class FailureTest : public test::ActorTest {};

// ---- deaths in a handler ----------------------------------------------------------------------------------

TEST_F(FailureTest, AHandlerThatThrowsRunsAgainInAReplacement) {
  const auto victim = node.spawn<Victim>("victim").value();
  EXPECT_EQ(victim.ask(Throw{"the disk is gone", 1}, patience).value(), 2U);
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 2U);
  const auto deaths = test::deaths(node);
  ASSERT_EQ(deaths.size(), 1U);
  EXPECT_EQ(deaths[0].reason.cause, ExitCause::failed);
  EXPECT_EQ(deaths[0].reason.status, ExitStatus{Exited{1}});
  EXPECT_EQ(deaths[0].reason.detail, "the disk is gone");
  EXPECT_TRUE(node.quarantine().value().empty());
}

std::string name_of(const ::testing::TestParamInfo<Death>& info) {
  return std::array{"abort", "segfault", "kill", "exit"}.at(static_cast<std::size_t>(info.param));
}

class DeathTest : public FailureTest, public ::testing::WithParamInterface<Death> {};
INSTANTIATE_TEST_SUITE_P(Deaths, DeathTest,
                         ::testing::Values(Death::abort, Death::segfault, Death::kill, Death::exit), name_of);

TEST_P(DeathTest, AMessageThatKillsEveryReaderIsSetAsideAndTheNextOneIsServed) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once}).value();
  const Die message{GetParam(), inbox.path()};
  EXPECT_EQ(victim.send(message), Sent::queued);
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 4U) << "behind it in the same mailbox";
  for (const char* const attempt : {"1", "2", "3"}) EXPECT_EQ(inbox.next(0ns), attempt);
  EXPECT_FALSE(inbox.next(0ns));
  const auto aside = node.quarantine().value();
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(aside[0].role, "victim");
  EXPECT_EQ(aside[0].cause, ErrorKind::poison);
  EXPECT_EQ(aside[0].attempts, 3U);
  EXPECT_EQ(aside[0].type, type_id<Die>);
  const auto payload = decode<Die>(aside[0].payload).value();
  EXPECT_EQ(payload.how, message.how);
  EXPECT_EQ(payload.inbox, message.inbox);
  EXPECT_EQ(test::deaths(node).size(), 3U);
}

TEST_P(DeathTest, WhoeverAsksIsToldThatItWasPoison) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once}).value();
  const auto answer = victim.ask(Die{GetParam()}, patience);
  EXPECT_EQ(answer.error().kind, ErrorKind::poison);
  EXPECT_NE(answer.error().text.find("3 attempts"), std::string::npos) << answer.error().text;
  EXPECT_TRUE(victim.ask(Ping{}, patience));
}

TEST_F(FailureTest, OneAttemptMeansOneAttempt) {
  const auto victim = node.spawn<Victim>("victim", {.attempts_max = 1, .backoff = at_once}).value();
  EXPECT_EQ(victim.ask(Die{Death::abort, inbox.path()}, patience).error().kind, ErrorKind::poison);
  EXPECT_EQ(inbox.next(0ns), "1");
  EXPECT_FALSE(inbox.next(0ns));
}

TEST_F(FailureTest, MessagesInFrontOfAPoisonousOneAreNotHandledAgain) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once}).value();
  victim.send(Throw{"once", 1});
  victim.send(Die{Death::kill, inbox.path()});
  victim.send(Throw{"once", 1});
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 6U);  // 1 + 3 + 1 deaths before it
  EXPECT_EQ(node.quarantine().value().size(), 1U);
}

// ---- restart or not
// -----------------------------------------------------------------------------------------

TEST_F(FailureTest, FailEndsItAbnormallyWithItsText) {
  const auto victim = node.spawn<Victim>("victim", {.restart = Restart::transient}).value();
  victim.send(Fail{"configuration changed"});
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 2U);
  EXPECT_EQ(test::child(node, "victim")->last_end.detail, "configuration changed");
  EXPECT_EQ(test::child(node, "victim")->last_end.cause, ExitCause::failed);
}

TEST_F(FailureTest, ATemporaryActorIsNotReplaced) {
  const auto victim = node.spawn<Victim>("victim", {.restart = Restart::temporary}).value();
  victim.send(Fail{"enough"});
  ASSERT_TRUE(test::reaches(node, "victim", ChildState::stopped));
  EXPECT_EQ(victim.send(Fail{}), Sent::closed);
  EXPECT_EQ(victim.ask(Ping{}, patience).error().kind, ErrorKind::down);
}

TEST_F(FailureTest, OneThatDiesTooOftenIsGivenUp) {
  const auto victim =
      node.spawn<Victim>("victim", {.restarts_max = 2, .attempts_max = unlimited, .backoff = at_once})
          .value();
  const auto answer = victim.ask(Die{}, patience);
  EXPECT_EQ(answer.error().kind, ErrorKind::down);
  const auto info = test::child(node, "victim").value();
  EXPECT_EQ(info.state, ChildState::stopped);
  EXPECT_EQ(info.incarnation, 3U);
  EXPECT_EQ(info.last_end.cause, ExitCause::restart_limit);
  EXPECT_EQ(victim.send(Fail{}), Sent::closed);
  EXPECT_EQ(node.wait(), 0) << "the last non-daemon has ended";
}

TEST_F(FailureTest, RestartsWithoutLimitAreWithoutLimit) {
  const auto victim = node.spawn<Victim>("victim", {.restarts_max = unlimited, .backoff = at_once}).value();
  for (std::uint32_t i = 1; i <= 30; ++i) {
    EXPECT_EQ(victim.ask(Ping{}, patience).value(), i);
    node.signal("victim", SIGKILL).value();
    ASSERT_TRUE(test::reaches(node, "victim", ChildState::running, i + 1));
  }
}

TEST_F(FailureTest, ItsMailboxOutlivesItAndKeepsItsOrder) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = {.first = 300ms}}).value();
  node.signal("victim", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "victim", ChildState::backing_off));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(victim.send(Throw{}), Sent::queued);
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 2U);
  EXPECT_GE(test::child(node, "victim")->acknowledged, 10U);
}

TEST_F(FailureTest, ASiblingIsNotTouched) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once}).value();
  const auto sibling = node.spawn<Victim>("sibling").value();
  EXPECT_EQ(victim.ask(Die{}, patience).error().kind, ErrorKind::poison);
  EXPECT_EQ(sibling.ask(Ping{}, patience).value(), 1U);
}

TEST_F(FailureTest, StopOfOneThatWaitsForItsRestartIsPrompt) {
  node.spawn<Victim>("victim", {.backoff = {.first = 60s, .max = 60s}}).value();
  node.signal("victim", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "victim", ChildState::backing_off));
  node.stop_child("victim").value();
  EXPECT_EQ(test::child(node, "victim")->state, ChildState::stopped);
}

// ---- hung
// -------------------------------------------------------------------------------------------------------

constexpr auto hung_after = 150ms;

TEST_F(FailureTest, AHandlerThatRunsForEverIsHungAndItsMessageRunsAgain) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once, .hung_after = hung_after}).value();
  const TimePoint begin = Clock::now();
  EXPECT_EQ(victim.ask(Spin{inbox.path()}, patience).value(), 2U);
  EXPECT_GE(Clock::now() - begin, hung_after);
  const auto deaths = test::deaths(node);
  ASSERT_EQ(deaths.size(), 1U);
  EXPECT_EQ(deaths[0].reason.cause, ExitCause::hung);
  EXPECT_EQ(deaths[0].reason.status, (ExitStatus{Signaled{SIGKILL, false}}));
}

TEST_F(FailureTest, ALongHandlerThatShowsProgressIsNotHung) {
  const auto victim = node.spawn<Victim>("victim", {.hung_after = hung_after}).value();
  EXPECT_EQ(victim.ask(Spin{inbox.path(), true}, patience).value(), 1U);
  EXPECT_TRUE(test::deaths(node).empty());
}

TEST_F(FailureTest, OneThatIsStoppedWhileMailWaitsIsHung) {
  const auto victim = node.spawn<Victim>("victim", {.backoff = at_once, .hung_after = hung_after}).value();
  ASSERT_TRUE(victim.ask(Ping{}, patience));
  node.signal("victim", SIGSTOP).value();
  EXPECT_EQ(victim.ask(Ping{}, patience).value(), 2U);
  EXPECT_EQ(test::deaths(node).at(0).reason.cause, ExitCause::hung);
}

TEST_F(FailureTest, AnIdleOneThatIsStoppedIsNotHung) {
  const auto idle = node.spawn<Victim>("idle", {.hung_after = hung_after}).value();
  const auto busy = node.spawn<Victim>("busy", {.hung_after = hung_after}).value();
  node.signal("idle", SIGSTOP).value();  // never asked: an answer comes before its question is done with
  // While the other one hangs and is replaced, the keeper has looked at the idle one as well.
  EXPECT_EQ(busy.ask(Spin{inbox.path()}, patience).value(), 2U);
  EXPECT_EQ(test::child(node, "idle")->incarnation, 1U);
  node.signal("idle", SIGCONT).value();
  EXPECT_EQ(idle.ask(Ping{}, patience).value(), 1U);
}

struct Flood {
  Ref<Victim> to{};
  int count = 0;
};
struct Flooder {
  using accepts = messages<Flood, Ping>;
  void on(const Flood& flood, Self& self) {
    for (int i = 0; i < flood.count; ++i) flood.to.send(Fail{std::string(1000, 'x')}, {patience});
    self.note("flooded");
  }
  std::uint32_t on(const Ping&, Self& self) { return self.incarnation(); }
};

TEST_F(FailureTest, OneThatWaitsForRoomElsewhereIsNotHung) {
  const auto victim =
      node.spawn<Victim>("victim", {.mailbox_bytes_max = 32 << 10U, .stop_within = 0ns}).value();
  const auto flooder = node.spawn<Flooder>("flooder", {.stop_within = 0ns, .hung_after = hung_after}).value();
  const auto watcher = node.spawn<Victim>("watcher", {.hung_after = hung_after}).value();
  victim.send(Spin{inbox.path()});
  ASSERT_EQ(inbox.next(), "spins");
  flooder.send(Flood{victim, 200});
  EXPECT_EQ(watcher.ask(Spin{inbox.path()}, patience).value(), 2U);  // so long has the flooder waited, too
  EXPECT_EQ(watcher.ask(Spin{inbox.path(), true}, patience).value(), 1U);
  EXPECT_EQ(test::child(node, "flooder")->incarnation, 1U);
}

}  // namespace
}  // namespace troupe
