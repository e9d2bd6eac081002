// SPDX-License-Identifier: MIT
#include <troupe/runtime/event.hpp>

#include <atomic>
#include <thread>
#include <troupe/runtime/shared.hpp>

#include "shared_cases.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Child;
using test::patience;

void answer(const Event& asked, const Event& answered) {
  asked.wait(patience).value();
  answered.set();
}
void wait_and_count(const Event& event, const Event& ready, Shared<int> count) {
  if (count.fetch_add(1) + 1 == 3) ready.set();
  event.wait(patience).value();
  count.fetch_add(1);
}

class EventBetweenProcesses : public test::BetweenProcesses {};

TEST_P(EventBetweenProcesses, WakesAChildAndIsSetByOne) {
  const Event asked;
  const Event answered;
  Child child = start(answer, asked, answered);
  EXPECT_FALSE(answered.is_set());
  asked.set();
  EXPECT_TRUE(answered.wait(patience));
  EXPECT_TRUE(answered.is_set());
  EXPECT_TRUE(child.ended_well());
}

TEST_P(EventBetweenProcesses, WakesAllThatWait) {
  const Event event;
  const Event ready;
  const Shared<int> count{0};
  Child first = start(wait_and_count, event, ready, count);
  Child second = start(wait_and_count, event, ready, count);
  Child third = start(wait_and_count, event, ready, count);
  ready.wait(patience).value();
  event.set();
  EXPECT_TRUE(first.ended_well() && second.ended_well() && third.ended_well());
  EXPECT_EQ(count.load(), 6);
}

TEST_P(EventBetweenProcesses, AKilledWaiterTakesNothingAlong) {
  const Event event;
  const Event ready;
  const Shared<int> count{1};
  Child first = start(wait_and_count, event, ready, count);
  Child second = start(wait_and_count, event, ready, count);
  ready.wait(patience).value();
  first.kill();
  event.set();
  EXPECT_TRUE(second.ended_well());
}

INSTANTIATE_TEST_SUITE_P(Runtime, EventBetweenProcesses, test::all_ways, test::name_of_way);

class EventTest : public test::NothingLeft {};

TEST_F(EventTest, IsSetAndClearedAnyNumberOfTimes) {
  const Event event;
  EXPECT_FALSE(event.is_set());
  event.set();
  event.set();
  EXPECT_TRUE(event.is_set());
  EXPECT_TRUE(event.wait(Duration::zero()));
  event.clear();
  event.clear();
  EXPECT_FALSE(event.is_set());
  EXPECT_EQ(event.wait(Duration::zero()).error().kind, ErrorKind::timed_out);
}

TEST_F(EventTest, WaitsAsLongAsItWasTold) {
  const Event event;
  const test::SignalStorm storm{300us};
  for (const auto within : {Duration{1ms}, Duration{120ms}}) {
    const auto before = Clock::now();
    EXPECT_EQ(event.wait(within).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, within);
  }
}

TEST_F(EventTest, OneThatIsClearedAtOnceHasStillWokenItsWaiters) {
  for (int round = 0; round < 200; ++round) {
    const Event event;
    std::atomic<int> waiting = 0;
    const auto wait = [&] {
      ++waiting;
      event.wait(patience).value();
    };
    std::thread one{wait};
    std::thread other{wait};
    // A waiter may have announced itself and not have looked yet, so there is more than one pulse.
    std::atomic<bool> done = false;
    std::thread pulses{[&] {
      while (waiting != 2) std::this_thread::yield();
      while (!done) {
        event.set();
        event.clear();
      }
    }};
    one.join();
    other.join();
    done = true;
    pulses.join();
    EXPECT_FALSE(event.is_set());
  }
}

}  // namespace
}  // namespace troupe
