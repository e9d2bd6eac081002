// SPDX-License-Identifier: MIT
#include <troupe/runtime/barrier.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/shared.hpp>
#include <troupe/runtime/shared_array.hpp>
#include <vector>

#include "shared_cases.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Child;
using test::patience;

void require(bool condition) {
  if (!condition) throw Failure{{ErrorKind::invalid, 0, "child: this should not be"}};
}

/// Of each round: how many had which index, and how often the action ran.
void go_through(const Barrier& barrier, const SharedArray<int>& indices, Shared<int> actions, int rounds) {
  for (int round = 1; round <= rounds; ++round) {
    const auto index = barrier.wait(patience, [&] { actions.fetch_add(1); }).value();
    require(actions.load() >= round);  // the action ran before anybody went on
    indices.atomic(index).fetch_add(1);
  }
}
void wait_for_kind(const Barrier& barrier, int kind) {
  const auto index = barrier.wait(patience);
  require(!index && index.error().kind == static_cast<ErrorKind>(kind));
}
void wait_well(const Barrier& barrier) { barrier.wait(patience).value(); }
void never_come(const Barrier& /*barrier*/, const Event& there) {
  there.set();
  for (;;) ::pause();
}

class BarrierBetweenProcesses : public test::BetweenProcesses {
 protected:
  static constexpr int parties = 3;
  static void run(int rounds) {
    const Barrier barrier{{.parties = parties}};
    const SharedArray<int> indices{{.elements = parties}};
    const Shared<int> actions{0};
    Child one = start(go_through, barrier, indices, actions, rounds);
    Child other = start(go_through, barrier, indices, actions, rounds);
    go_through(barrier, indices, actions, rounds);
    EXPECT_TRUE(one.ended_well());
    EXPECT_TRUE(other.ended_well());
    EXPECT_EQ(actions.load(), rounds) << "once a round";
    for (std::size_t i = 0; i < indices.size(); ++i) EXPECT_EQ(indices[i], rounds) << "index " << i;
  }
  /// With the mutex-free look that a test has: until so many wait.
  [[nodiscard]] static bool wait_until_waiting(const Barrier& barrier, std::uint32_t count) {
    const auto deadline = deadline_in(patience);
    while (barrier.waiting() != count && Clock::now() < deadline) std::this_thread::yield();
    return barrier.waiting() == count;
  }
};

TEST_P(BarrierBetweenProcesses, LetsAllOnOnceAllHaveComeWithIndicesOfTheirOwn) { run(1); }
TEST_P(BarrierBetweenProcesses, DoesSoTenTimes) { run(10); }
TEST_P(BarrierBetweenProcesses, DoesSoAThousandTimes) { run(1000); }

TEST_P(BarrierBetweenProcesses, AbortBreaksItForAllAndResetMakesItWhole) {
  const Barrier barrier{{.parties = 2}};
  Child one = start(wait_for_kind, barrier, static_cast<int>(ErrorKind::closed));
  ASSERT_TRUE(wait_until_waiting(barrier, 1));
  barrier.abort();
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(barrier.wait(patience).error().kind, ErrorKind::closed);
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  Child other = start(wait_well, barrier);
  EXPECT_TRUE(barrier.wait(patience));
  EXPECT_TRUE(other.ended_well());
}

TEST_P(BarrierBetweenProcesses, ResetSendsThoseAwayWhoWait) {
  const Barrier barrier{{.parties = 2}};
  Child one = start(wait_for_kind, barrier, static_cast<int>(ErrorKind::closed));
  ASSERT_TRUE(wait_until_waiting(barrier, 1));
  barrier.reset();
  EXPECT_TRUE(one.ended_well());
  EXPECT_FALSE(barrier.broken());
}

TEST_P(BarrierBetweenProcesses, APartyThatDoesNotWaitAnyLongerBreaksItForTheOthers) {
  const Barrier barrier{{.parties = 3}};
  Child one = start(wait_for_kind, barrier, static_cast<int>(ErrorKind::closed));
  ASSERT_TRUE(wait_until_waiting(barrier, 1));
  const auto before = Clock::now();
  EXPECT_EQ(barrier.wait(60ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - before, 60ms);
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(barrier.broken());
}

TEST_P(BarrierBetweenProcesses, APartyThatIsKilledWhileItWaitsBreaksIt) {
  const Barrier barrier{{.parties = 3}};
  Child victim = start(wait_well, barrier);
  ASSERT_TRUE(wait_until_waiting(barrier, 1));
  Child other = start(wait_for_kind, barrier, static_cast<int>(ErrorKind::down));
  ASSERT_TRUE(wait_until_waiting(barrier, 2));
  victim.kill();
  EXPECT_TRUE(other.ended_well());
  EXPECT_EQ(barrier.wait(patience).error().kind, ErrorKind::down);
}

TEST_P(BarrierBetweenProcesses, APartyThatIsKilledBeforeItCameBreaksIt) {
  if (GetParam() == test::Way::fork) GTEST_SKIP() << "the child of a plain fork is a party once it waits";
  const Barrier barrier{{.parties = 2}};
  const Event there;
  Child victim = start(never_come, barrier, there);
  there.wait(patience).value();
  std::thread killer{[&] {
    EXPECT_TRUE(wait_until_waiting(barrier, 1));
    victim.kill();
  }};
  EXPECT_EQ(barrier.wait(patience).error().kind, ErrorKind::down);
  killer.join();
  barrier.reset();
  Child other = start(wait_well, barrier);
  EXPECT_TRUE(barrier.wait(patience)) << "the dead are forgotten";
  EXPECT_TRUE(other.ended_well());
}

TEST_P(BarrierBetweenProcesses, APartyThatLeftInGoodOrderIsNoDeath) {
  if (GetParam() == test::Way::fork)
    GTEST_SKIP() << "the child of a plain fork ends without destructors: its copies never say that it leaves";
  const Barrier barrier{{.parties = 2}};
  Child one = start(wait_well, barrier);
  EXPECT_TRUE(barrier.wait(patience));
  EXPECT_TRUE(one.ended_well());
  Child other = start(wait_well, barrier);
  EXPECT_TRUE(barrier.wait(patience));
  EXPECT_TRUE(other.ended_well());
}

INSTANTIATE_TEST_SUITE_P(Runtime, BarrierBetweenProcesses, test::all_ways, test::name_of_way);

class BarrierTest : public test::NothingLeft {};

TEST_F(BarrierTest, OfASinglePartyLetsItOnAtOnce) {
  const Barrier barrier;
  int acted = 0;
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(barrier.wait(patience, [&] { ++acted; }).value(), 0U);
    EXPECT_EQ(acted, i);
  }
}

TEST_F(BarrierTest, OfNoPartyIsInvalid) {
  EXPECT_EQ(Barrier::create({.parties = 0}).error().kind, ErrorKind::invalid);
}

TEST_F(BarrierTest, WaitsAsLongAsItWasTold) {
  const Barrier barrier{{.parties = 2}};
  const test::SignalStorm storm{300us};
  for (const auto within : {Duration{1ms}, Duration{120ms}}) {
    const auto before = Clock::now();
    EXPECT_EQ(barrier.wait(within).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, within);
    barrier.reset();
  }
}

TEST_F(BarrierTest, AnActionThatThrowsBreaksItAndComesOut) {
  const Barrier barrier{{.parties = 2}};
  std::thread other{[&] { EXPECT_EQ(barrier.wait(patience).error().kind, ErrorKind::closed); }};
  const auto deadline = deadline_in(patience);
  while (barrier.waiting() != 1 && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_THROW((void)barrier.wait(patience, [] { throw std::runtime_error{"no"}; }), std::runtime_error);
  other.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierTest, ThreadsArePartiesToo) {
  constexpr std::uint32_t parties = 4;
  constexpr int rounds = 300;
  const Barrier barrier{{.parties = parties}};
  std::atomic<int> actions = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < parties; ++i)
    threads.emplace_back([&] {
      for (int round = 1; round <= rounds; ++round) {
        barrier.wait(patience, [&] { ++actions; }).value();
        EXPECT_GE(actions, round);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(actions, rounds);
}

TEST_F(BarrierTest, OverwrittenWordsHarmNothingElse) {
  test::Forked child{[] {
    const Barrier barrier{{.parties = 2}};
    const Barrier other;
    const test::Words words{barrier};
    for (const std::uint64_t pattern : {0x7FFF'FFFF'FFFF'FFFFU, ~0UL, 0x0000'0001'0000'0001U, 0UL}) {
      for (std::size_t at = 64; at < 4080; at += sizeof pattern) words.at<std::uint64_t>(at) = pattern;
      [[maybe_unused]] const auto index = barrier.wait(1ms);
      barrier.reset();
      barrier.abort();
    }
    return other.wait(patience) && barrier.broken() ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

}  // namespace
}  // namespace troupe
