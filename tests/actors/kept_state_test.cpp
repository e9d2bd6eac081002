// SPDX-License-Identifier: MIT
// Kept state is there again after any death, and a message moves it exactly once.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <map>
#include <random>
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

const ChildOptions undying{.restarts_max = unlimited, .attempts_max = unlimited, .backoff = at_once};

struct Add {
  std::uint64_t number = 0;
};
struct Totals {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
  std::uint64_t duplicates = 0;
};
struct Total {
  using reply = Totals;
  std::string inbox{};  ///< if any, hears of it before it is handed on
};
struct Handed {
  using reply = std::uint64_t;
};
struct Grow {
  std::uint64_t bytes = 0;
};

struct Counter {
  using accepts = messages<Add, Total, Grow>;
  struct Kept {
    Totals totals{};
    std::uint32_t incarnation = 0;
    std::uint64_t duplicates_before = 0;  ///< of earlier incarnations
    std::string ballast{};
  } kept{};

  void on(const Add& message, Self& self) {
    if (std::exchange(kept.incarnation, self.incarnation()) != self.incarnation())
      kept.duplicates_before = kept.totals.duplicates;
    kept.totals.duplicates = kept.duplicates_before + self.duplicates_dropped();
    ++kept.totals.count;
    kept.totals.sum += message.number;
  }
  Totals on(const Total&) { return kept.totals; }
  void on(const Grow& message) { kept.ballast.assign(message.bytes, 'b'); }
};

/// Hands on what it gets; keeps how much that was.
struct Relay {
  using accepts = messages<Add, Total, Handed>;
  struct Kept {
    std::uint64_t count = 0;
  } kept{};
  void on(const Add& message, Self& self) {
    ++kept.count;
    self.ref<Counter>("counter").send(message);
  }
  std::uint64_t on(const Handed&) { return kept.count; }
  /// Behind everything that it has handed on.
  Result<Totals> on(const Total& question, Self& self) {
    if (!question.inbox.empty()) test::say(question.inbox, "asking");
    return self.ref<Counter>("counter").ask(Total{}, patience);
  }
};

class KeptStateTest : public test::ActorTest {
 protected:
  /// Asks again and again: what comes from another sender may come a little later.
  template <class Question>
  static bool until(Question answered) {
    for (const TimePoint deadline = deadline_in(patience); Clock::now() < deadline;)
      if (answered()) return true;
    return false;
  }
};

TEST_F(KeptStateTest, IsThereAgainAfterADeath) {
  const auto counter = node.spawn<Counter>("counter", undying).value();
  for (std::uint64_t i = 1; i <= 10; ++i) {
    counter.send(Add{i});
    node.signal("counter", SIGKILL).value();
    ASSERT_TRUE(test::reaches(node, "counter", ChildState::running, static_cast<std::uint32_t>(i) + 1));
    EXPECT_EQ(counter.ask(Total{}, patience).value().sum, i * (i + 1) / 2);
  }
}

TEST_F(KeptStateTest, IsNotThatOfAnActorOfTheSameNameInAnotherNode) {
  Node other;
  node.spawn<Counter>("counter").value().send(Add{7});
  EXPECT_EQ(other.spawn<Counter>("counter").value().ask(Total{}, patience).value().count, 0U);
  EXPECT_EQ(node.ref<Counter>("counter").ask(Total{}, patience).value().count, 1U);
}

TEST_F(KeptStateTest, AHundredKillsInAStreamOfTwentyThousandLoseNothingAndCountNothingTwice) {
  constexpr std::uint64_t messages = 20'000;
  constexpr int kills = 100;
  node.spawn<Counter>("counter", undying).value();
  const auto relay = node.spawn<Relay>("relay", undying).value();
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random{seed};
  std::uniform_int_distribution<std::uint64_t> place{1, 2 * messages / kills - 1};
  std::map<std::string, std::uint32_t> last_killed;
  int killed = 0;
  const auto kill_one = [&] {
    const char* const name = random() % 2 == 0 ? "relay" : "counter";
    if (!test::reaches(node, name, ChildState::running, last_killed[name] + 1)) return false;
    last_killed[name] = test::child(node, name)->incarnation;
    if (node.signal(name, SIGKILL)) ++killed;
    return true;
  };
  std::uint64_t next_kill = place(random);
  for (std::uint64_t i = 1; i <= messages; ++i) {
    ASSERT_EQ(relay.send(Add{i}, {patience}), Sent::queued);
    if (i != next_kill || killed == kills) continue;
    next_kill += place(random);
    ASSERT_TRUE(kill_one());
  }
  while (killed < kills) ASSERT_TRUE(kill_one());
  const Totals totals = relay.ask(Total{}, 3 * patience).value();
  EXPECT_EQ(totals.count, messages);
  EXPECT_EQ(totals.sum, messages * (messages + 1) / 2);
  EXPECT_GT(totals.duplicates, 0U) << "no kill has hit the moments that matter";
  RecordProperty("duplicates_dropped", static_cast<int>(totals.duplicates));
  EXPECT_EQ(test::deaths(node).size(), std::size_t{kills});
}

TEST_F(KeptStateTest, AnAskComesBehindWhatEarlierHandlersHaveSentEvenIfThatHadNoRoom) {
  constexpr std::uint64_t messages = 1000;  // far more than the mailbox takes
  node.spawn<Counter>("counter", {.mailbox_bytes_max = lane::capacity_min}).value();
  const auto relay = node.spawn<Relay>("relay", {.state_bytes_max = 1024 * 1024}).value();
  node.signal("counter", SIGSTOP).value();
  for (std::uint64_t i = 1; i <= messages; ++i) ASSERT_EQ(relay.send(Add{i}, {patience}), Sent::queued);
  auto totals = std::async(std::launch::async, [&] { return relay.ask(Total{inbox.path()}, patience); });
  ASSERT_EQ(inbox.next(), "asking");
  node.signal("counter", SIGCONT).value();
  EXPECT_EQ(totals.get().value().count, messages);
}

TEST_F(KeptStateTest, ALetterWithoutRoomHoldsUpNobodyElses) {
  node.spawn<Counter>("counter", {.mailbox_bytes_max = lane::capacity_min}).value();
  node.signal("counter", SIGSTOP).value();
  const auto relay = node.spawn<Relay>("relay", {.state_bytes_max = 1024 * 1024}).value();
  for (std::uint64_t i = 1; i <= 1000; ++i) ASSERT_EQ(relay.send(Add{i}, {patience}), Sent::queued);
  EXPECT_EQ(relay.ask(Handed{}, patience).value(), 1000U);  // its answer is a letter too
  node.signal("counter", SIGCONT).value();
}

struct Ball {
  std::uint32_t bounces_left = 0;
  std::string ballast{};
};
struct Bounced {
  using reply = std::uint64_t;
};
/// Throws every ball back to the other one.
struct Player {
  using accepts = messages<Ball, Bounced>;
  std::string other;
  struct Kept {
    std::uint64_t bounced = 0;
  } kept{};
  void on(const Ball& ball, Self& self) {
    ++kept.bounced;
    if (ball.bounces_left > 0) self.ref<Player>(other).send(Ball{ball.bounces_left - 1, ball.ballast});
  }
  std::uint64_t on(const Bounced&) { return kept.bounced; }
};

TEST_F(KeptStateTest, TwoActorsThatFillEachOthersMailboxesGetOn) {
  constexpr std::uint32_t balls = 60;  // twice what the mailboxes hold
  constexpr std::uint32_t bounces = 20;
  const ChildOptions small{.mailbox_bytes_max = 3 * lane::capacity_min, .state_bytes_max = 1024 * 1024};
  const auto left = node.spawn<Player>("left", small, "right").value();
  const auto right = node.spawn<Player>("right", small, "left").value();
  for (std::uint32_t i = 0; i < balls; ++i)
    ASSERT_EQ((i % 2 == 0 ? left : right).send(Ball{bounces, std::string(900, 'b')}, {patience}),
              Sent::queued);
  ASSERT_TRUE(until([&] {
    return left.ask(Bounced{}, patience).value() + right.ask(Bounced{}, patience).value() ==
           balls * (bounces + 1);
  }));
}

// ---- sends of a handler that does not end
// -------------------------------------------------------------------

struct Work {
  std::string inbox{};
  std::string gate{};
};
struct Steps {
  using reply = std::vector<std::uint32_t>;
};

/// Sends 1, waits at a gate, sends 2.
struct Halting {
  using accepts = messages<Work, Steps>;
  struct Kept {
    std::vector<std::uint32_t> attempts{};
  } kept{};
  void on(const Work& work, Self& self) {
    kept.attempts.push_back(self.attempt());
    self.ref<Counter>("counter").send(Add{1});
    test::say(work.inbox, std::to_string(::getpid()));
    test::pass(work.gate);
    self.ref<Counter>("counter").send(Add{2});
  }
  Result<std::vector<std::uint32_t>> on(const Steps&, Self& self) {
    [[maybe_unused]] const auto behind = self.ref<Counter>("counter").ask(Total{}, patience);
    return kept.attempts;
  }
};

TEST_F(KeptStateTest, WhatAHandlerSentBeforeItsDeathIsSentOnce) {
  const auto counter = node.spawn<Counter>("counter").value();
  const auto halting = node.spawn<Halting>("halting", undying).value();
  halting.send(Work{inbox.path(), gate.path()});
  test::Watched{inbox.next_number()}.signal(SIGKILL);
  EXPECT_NE(inbox.next_number(), 0);  // the replacement is there as well
  EXPECT_EQ(counter.ask(Total{}, patience).value().count, 0U) << "nothing is sent before it is committed";
  gate.open();
  EXPECT_EQ(halting.ask(Steps{}, patience).value(), std::vector<std::uint32_t>{2});
  EXPECT_EQ(counter.ask(Total{}, patience).value().sum, 3U);
}

/// Three steps with a commit after each; goes on where the last incarnation was.
struct Stepping {
  using accepts = messages<Work, Steps>;
  struct Kept {
    std::uint32_t step = 0;
    std::vector<std::uint32_t> attempts{};
  } kept{};
  void on(const Work& work, Self& self) {
    for (; kept.step < 3; self.commit()) {
      kept.attempts.push_back(self.attempt());
      ++kept.step;
      self.ref<Counter>("counter").send(Add{kept.step});
      self.commit();
      test::say(work.inbox, std::to_string(::getpid()));
      test::pass(work.gate);
    }
  }
  Result<std::vector<std::uint32_t>> on(const Steps&, Self& self) {
    [[maybe_unused]] const auto behind = self.ref<Counter>("counter").ask(Total{}, patience);
    return kept.attempts;
  }
};

TEST_F(KeptStateTest, AHandlerGoesOnFromItsLastCommitAndThatAttemptDoesNotCount) {
  const auto counter = node.spawn<Counter>("counter").value();
  const auto stepping =
      node.spawn<Stepping>("stepping", {.restarts_max = unlimited, .attempts_max = 1, .backoff = at_once})
          .value();
  stepping.send(Work{inbox.path(), gate.path()});
  for (std::uint64_t step = 1; step <= 3; ++step) {
    const test::Watched process{inbox.next_number()};
    EXPECT_TRUE(until([&] { return counter.ask(Total{}, patience).value().sum == step * (step + 1) / 2; }))
        << "a commit sends what was sent so far";
    process.signal(SIGKILL);
  }
  EXPECT_EQ(stepping.ask(Steps{}, patience).value(), (std::vector<std::uint32_t>{1, 1, 1}));
  EXPECT_EQ(counter.ask(Total{}, patience).value().count, 3U);
  EXPECT_TRUE(node.quarantine().value().empty());
}

TEST_F(KeptStateTest, AKeptActorThatPoisonsItselfGivesTheMessageUpToo) {
  const auto counter =
      node.spawn<Counter>("counter", {.restarts_max = unlimited, .state_bytes_max = 4096, .backoff = at_once})
          .value();
  counter.send(Add{5});
  counter.send(Grow{100'000});
  counter.send(Add{6});
  EXPECT_EQ(counter.ask(Total{}, patience).value().sum, 11U);
  const auto aside = node.quarantine().value();
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(aside[0].type, type_id<Grow>);
  const auto deaths = test::deaths(node);
  ASSERT_EQ(deaths.size(), 3U);
  EXPECT_NE(deaths[0].reason.detail.find("state_bytes_max"), std::string::npos) << deaths[0].reason.detail;
}

TEST_F(KeptStateTest, AStoppedActorHasHandedOnWhatItCommitted) {
  const auto counter = node.spawn<Counter>("counter").value();
  const auto relay = node.spawn<Relay>("relay", undying).value();
  for (std::uint64_t i = 1; i <= 100; ++i) relay.send(Add{i});
  EXPECT_EQ(relay.ask(Total{}, patience).value().count, 100U);
  node.stop_child("relay").value();
  EXPECT_EQ(counter.ask(Total{}, patience).value().count, 100U);
}

}  // namespace
}  // namespace troupe
