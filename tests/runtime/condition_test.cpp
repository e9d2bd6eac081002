// SPDX-License-Identifier: MIT
#include <troupe/runtime/condition.hpp>

#include <unistd.h>

#include <atomic>
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

/// What the mutex guards.
enum Slot : std::size_t { waiting, tokens, taken, slots };
using Table = SharedArray<int>;

void take_a_token(const Mutex& mutex, const Condition& condition, const Table& table) {
  auto lock = mutex.lock(patience).value();
  ++table[waiting];
  condition.wait_for(lock, patience, [&] { return table[tokens] > 0; }).value();
  --table[tokens];
  ++table[taken];
}
/// A plain wait, with what it counts on beside it: how often it woke.
void wait_once(const Mutex& mutex, const Condition& condition, const Table& table) {
  auto lock = mutex.lock(patience).value();
  ++table[waiting];
  condition.wait(lock, patience).value();
  ++table[taken];
}

class ConditionBetweenProcesses : public test::BetweenProcesses {
 protected:
  /// Whether the slot comes to hold `value` or more, as seen with the mutex held.
  [[nodiscard]] bool becomes(Slot slot, int value) const {
    for (const auto deadline = deadline_in(patience); Clock::now() < deadline; std::this_thread::yield())
      if (const auto lock = mutex.lock(patience).value(); table[slot] >= value) return true;
    return false;
  }
  template <class Notify>
  void notify(Notify notify) const {
    const auto lock = mutex.lock(patience).value();
    notify();
  }

  const Mutex mutex{};
  const Condition condition{};
  const Table table{{.elements = slots}};
};

TEST_P(ConditionBetweenProcesses, NotifiesOneThenSomeThenAll) {
  std::vector<Child> children;
  for (int i = 0; i < 6; ++i) children.push_back(start(wait_once, mutex, condition, table));
  ASSERT_TRUE(becomes(waiting, 6));
  notify([&] { condition.notify_one(); });
  EXPECT_TRUE(becomes(taken, 1));
  notify([&] { condition.notify(2); });
  EXPECT_TRUE(becomes(taken, 3));
  notify([&] { condition.notify_all(); });
  EXPECT_TRUE(becomes(taken, 6));
  for (Child& child : children) EXPECT_TRUE(child.ended_well());
}

TEST_P(ConditionBetweenProcesses, ThreadsAndProcessesWaitForTheSame) {
  Child child = start(take_a_token, mutex, condition, table);
  std::thread thread{[&] { take_a_token(mutex, condition, table); }};
  ASSERT_TRUE(becomes(waiting, 2));
  notify([&] {
    table[tokens] += 2;
    condition.notify_all();
  });
  thread.join();
  EXPECT_TRUE(child.ended_well());
  EXPECT_EQ(table[taken], 2);
}

TEST_P(ConditionBetweenProcesses, AKilledWaiterBlocksNeitherNotifierNorTheOthers) {
  Child victim = start(take_a_token, mutex, condition, table);
  Child survivor = start(take_a_token, mutex, condition, table);
  ASSERT_TRUE(becomes(waiting, 2));
  victim.kill();
  notify([&] {
    ++table[tokens];
    condition.notify_one();
  });
  EXPECT_TRUE(survivor.ended_well()) << "whoever was woken";
}

TEST_P(ConditionBetweenProcesses, AHolderThatDiesMeanwhileIsReportedToTheWaiter) {
  auto lock = mutex.lock().value();
  Child holder = start(
      +[](const Mutex& it, const Condition& told) {
        auto held = it.lock(patience).value();
        told.notify_all();
        ::_exit(0);
      },
      mutex, condition);
  const auto woken = condition.wait_for(lock, patience, [] { return false; });
  EXPECT_EQ(woken.error().kind, ErrorKind::down);
  EXPECT_TRUE(lock.held());
  EXPECT_TRUE(lock.owner_died());
  EXPECT_EQ(condition.wait(lock, 1ms).error().kind, ErrorKind::invalid) << "to be repaired first";
  lock.repaired();
  EXPECT_EQ(condition.wait(lock, 1ms).error().kind, ErrorKind::timed_out);
  EXPECT_TRUE(holder.ended_well());
}

INSTANTIATE_TEST_SUITE_P(Runtime, ConditionBetweenProcesses, test::all_ways, test::name_of_way);

class ConditionTest : public test::NothingLeft {};

TEST_F(ConditionTest, WaitsAsLongAsItWasToldAndHoldsTheLockThen) {
  const Mutex mutex;
  const Condition condition;
  auto lock = mutex.lock().value();
  const test::SignalStorm storm{300us};
  for (const auto within : {Duration{1ms}, Duration{120ms}}) {
    const auto before = Clock::now();
    EXPECT_EQ(condition.wait(lock, within).error().kind, ErrorKind::timed_out);
    EXPECT_EQ(condition.wait_for(lock, within, [] { return false; }).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, 2 * within);
    EXPECT_TRUE(lock.held());
    EXPECT_TRUE(mutex.locked());
  }
}

TEST_F(ConditionTest, WaitsForNothingThatIsSoAlready) {
  const Mutex mutex;
  const Condition condition;
  auto lock = mutex.lock().value();
  EXPECT_TRUE(condition.wait_for(lock, Duration::zero(), [] { return true; }));
}

TEST_F(ConditionTest, RefusesALockThatItCannotGiveUp) {
  const Condition condition;
  Lock none;
  EXPECT_EQ(condition.wait(none).error().kind, ErrorKind::invalid);
  const RecursiveMutex mutex;
  auto outer = mutex.lock().value();
  auto inner = mutex.lock().value();
  EXPECT_EQ(condition.wait(inner).error().kind, ErrorKind::invalid);
  inner.unlock();
  EXPECT_EQ(condition.wait(outer, 1ms).error().kind, ErrorKind::timed_out);
}

TEST_F(ConditionTest, NoNotificationIsLostBetweenTheLookAndTheSleep) {
  constexpr int rounds = 5000;
  const Mutex mutex;
  const Condition condition;
  int turn = 0;
  const auto play = [&](int mine) {
    for (int i = 0; i < rounds; ++i) {
      auto lock = mutex.lock().value();
      while (turn % 2 != mine) condition.wait(lock, patience).value();  // no look in between would help
      ++turn;
      condition.notify_one();
    }
  };
  std::thread other{[&] { play(1); }};
  play(0);
  other.join();
  EXPECT_EQ(turn, 2 * rounds);
}

}  // namespace
}  // namespace troupe
