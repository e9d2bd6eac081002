// SPDX-License-Identifier: MIT
#include <troupe/runtime/mutex.hpp>

#include <linux/futex.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/shared.hpp>
#include <troupe/runtime/shared_array.hpp>

#include "shared_cases.hpp"
#include "transport/shared_value.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Child;
using test::Forked;
using test::patience;
using test::Words;

static_assert(!std::is_copy_constructible_v<Lock>, "who holds a lock alone can end it");

void require(bool condition) {
  if (!condition) throw Failure{{ErrorKind::invalid, 0, "child: this should not be"}};
}
[[noreturn]] void hang() {
  for (;;) ::pause();
}

template <class M>
void hold_and_hang(const M& mutex, const Event& held) {
  const auto lock = mutex.lock(patience).value();
  held.set();
  hang();
}
template <class M>
void hold_and_exit(const M& mutex) {
  const auto lock = mutex.lock(patience).value();
  ::_exit(0);
}
void hold_until(const Mutex& mutex, const Event& held, const Event& enough) {
  const auto lock = mutex.lock(patience).value();
  held.set();
  enough.wait(patience).value();
}
void add_in_two_steps(const Mutex& mutex, const SharedArray<long>& sum, int times) {
  for (int i = 0; i < times; ++i) {
    const auto lock = mutex.lock(patience).value();
    const volatile long before = sum[0];
    sum[0] = before + 1;
  }
}

class MutexBetweenProcesses : public test::BetweenProcesses {
 protected:
  /// Ends while holding it.
  template <class M>
  static void die_with(const M& mutex) {
    const Event held;
    Child holder = start(hold_and_hang<M>, mutex, held);
    held.wait(patience).value();
    holder.kill();
  }
};

TEST_P(MutexBetweenProcesses, IsSeenLockedAndIsFreeOnceItsHolderIsDone) {
  const Mutex mutex;
  EXPECT_FALSE(mutex.locked());
  const Event held;
  const Event enough;
  Child holder = start(hold_until, mutex, held, enough);
  held.wait(patience).value();
  EXPECT_TRUE(mutex.locked());
  EXPECT_EQ(mutex.try_lock().error().kind, ErrorKind::timed_out);
  enough.set();
  auto lock = mutex.lock(patience);
  ASSERT_TRUE(lock);
  EXPECT_FALSE(lock->owner_died());
  EXPECT_TRUE(holder.ended_well());
}

TEST_P(MutexBetweenProcesses, LetsOneInAtATime) {
  constexpr int times = 5000;
  const Mutex mutex;
  const SharedArray<long> sum;
  Child one = start(add_in_two_steps, mutex, sum, times);
  Child other = start(add_in_two_steps, mutex, sum, times);
  add_in_two_steps(mutex, sum, times);
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(other.ended_well());
  EXPECT_EQ(sum[0], 3L * times);
}

TEST_P(MutexBetweenProcesses, TellsTheNextOwnerOfAKilledHolder) {
  const Mutex mutex;
  die_with(mutex);
  auto lock = mutex.lock(patience);
  ASSERT_TRUE(lock);
  EXPECT_TRUE(lock->owner_died());
  lock->repaired();
  lock->unlock();
  EXPECT_FALSE(mutex.lock(patience).value().owner_died()) << "it was repaired";
}

TEST_P(MutexBetweenProcesses, GoesToOneWhoWaitsWhenItsHolderIsKilled) {
  const Mutex mutex;
  const Event held;
  Child holder = start(hold_and_hang<Mutex>, mutex, held);
  held.wait(patience).value();
  std::thread killer{[&] {
    const Words words{mutex};
    while ((words.at<detail::FutexWord>(Words::owner).load() & FUTEX_WAITERS) == 0) std::this_thread::yield();
    holder.kill();
  }};
  const auto lock = mutex.lock(patience);
  killer.join();
  ASSERT_TRUE(lock);
  EXPECT_TRUE(lock->owner_died());
}

TEST_P(MutexBetweenProcesses, TellsTheNextOwnerOfAHolderThatExited) {
  const Mutex mutex;
  Child holder = start(hold_and_exit<Mutex>, mutex);
  EXPECT_TRUE(holder.ended_well());
  EXPECT_TRUE(mutex.lock(patience).value().owner_died());
}

TEST_P(MutexBetweenProcesses, ReportsADeathAgainWhenTheRepairerDiesToo) {
  const Mutex mutex;
  die_with(mutex);
  die_with(mutex);
  auto lock = mutex.lock(patience).value();
  EXPECT_TRUE(lock.owner_died());
  lock.repaired();
}

TEST_P(MutexBetweenProcesses, IsGivenUpForAllUnlessItIsRepaired) {
  const Mutex mutex;
  die_with(mutex);
  { const auto lock = mutex.lock(patience).value(); }
  EXPECT_EQ(mutex.lock(patience).error().kind, ErrorKind::down);
  EXPECT_FALSE(mutex.locked());
  Child other = start(
      +[](const Mutex& it) { require(it.lock(patience).error().kind == ErrorKind::down); }, mutex);
  EXPECT_TRUE(other.ended_well());
}

TEST_P(MutexBetweenProcesses, ARecursiveOneIsFreeWhenAllLocksHaveEndedAndReportsADeathToEach) {
  const RecursiveMutex mutex;
  die_with(mutex);
  auto outer = mutex.lock(patience).value();
  auto inner = mutex.lock(patience).value();
  EXPECT_TRUE(outer.owner_died());
  EXPECT_TRUE(inner.owner_died());
  inner.repaired();
  outer.unlock();
  EXPECT_TRUE(mutex.locked());
  Child other = start(
      +[](const RecursiveMutex& it) { require(!it.try_lock()); }, mutex);
  EXPECT_TRUE(other.ended_well());
  inner.unlock();
  EXPECT_FALSE(mutex.locked());
  Child last = start(
      +[](const RecursiveMutex& it) { require(!it.try_lock().value().owner_died()); }, mutex);
  EXPECT_TRUE(last.ended_well());
}

INSTANTIATE_TEST_SUITE_P(Runtime, MutexBetweenProcesses, test::all_ways, test::name_of_way);

class MutexTest : public test::NothingLeft {};

TEST_F(MutexTest, WaitsAsLongAsItWasTold) {
  const Mutex mutex;
  std::atomic<bool> held = false;
  std::atomic<bool> enough = false;
  std::thread holder{[&] {
    const auto lock = mutex.lock().value();
    held = true;
    held.notify_one();
    enough.wait(false);
  }};
  held.wait(false);
  for (const auto within : {Duration{0}, Duration{1ms}, Duration{120ms}}) {
    const auto before = Clock::now();
    EXPECT_EQ(mutex.lock(within).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, within);
  }
  {
    const test::SignalStorm storm{300us};
    const auto before = Clock::now();
    EXPECT_EQ(mutex.lock(60ms).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, 60ms) << "a signal ends no wait";
  }
  enough = true;
  enough.notify_one();
  holder.join();
  EXPECT_TRUE(mutex.lock(patience));
}

TEST_F(MutexTest, LockingItAgainIsAnErrorAndNoDeadlock) {
  const Mutex mutex;
  const Mutex copy{mutex};
  const auto arrived = test::from_file<Mutex>(test::file_of(mutex)).value();
  const auto lock = mutex.lock().value();
  EXPECT_EQ(mutex.lock().error().kind, ErrorKind::invalid);
  EXPECT_EQ(copy.lock().error().kind, ErrorKind::invalid);
  EXPECT_EQ(arrived.lock().error().kind, ErrorKind::invalid) << "mapped anew, and still the same";
}

TEST_F(MutexTest, ALockThatWasMovedFromOrUnlockedDoesNothing) {
  const Mutex mutex;
  auto first = mutex.lock().value();
  Lock second{std::move(first)};
  first.unlock();
  EXPECT_TRUE(mutex.locked());
  second.unlock();
  EXPECT_FALSE(second.held());
  second.unlock();
  second = mutex.lock().value();
  EXPECT_TRUE(mutex.locked());
  second = Lock{};
  EXPECT_FALSE(mutex.locked());
}

TEST_F(MutexTest, LetsThreadsInOneAtATime) {
  constexpr int times = 20'000;
  const Mutex mutex;
  long sum = 0;  // no atomic: the lock orders it
  const auto add = [&] {
    for (int i = 0; i < times; ++i) {
      const auto lock = mutex.lock().value();
      ++sum;
    }
  };
  std::thread one{add};
  std::thread other{add};
  one.join();
  other.join();
  EXPECT_EQ(sum, 2L * times);
}

TEST_F(MutexTest, AThreadThatEndsWithItIsReported) {
  const Mutex mutex;
  alignas(Lock) std::array<std::byte, sizeof(Lock)> room{};  // never ended: it could only end in that thread
  std::thread{[&] { new (room.data()) Lock{mutex.lock().value()}; }}.join();
  EXPECT_TRUE(mutex.lock(patience).value().owner_died());
  std::launder(reinterpret_cast<Lock*>(room.data()))->~Lock();
}

TEST_F(MutexTest, AForkedChildsCopyOfALockDoesNothing) {
  const Mutex mutex;
  auto lock = mutex.lock().value();
  Forked child{[&] {
    lock.repaired();
    lock.unlock();
    return mutex.locked() && mutex.try_lock().error().kind == ErrorKind::timed_out ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_TRUE(mutex.locked());
  lock.unlock();
  EXPECT_FALSE(mutex.lock(patience).value().owner_died()) << "the child's end is nobody's death";
}

TEST_F(MutexTest, AForkedChildLocksItWhileItsParentHoldsAnother) {
  const Mutex mine;
  const Mutex its;
  const auto lock = mine.lock().value();
  Forked child{[&]() -> int {
    const auto other = its.lock(patience).value();
    ::_exit(0);
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_TRUE(its.lock(patience).value().owner_died());
}

/// A robust pthread mutex that processes share.
struct PthreadMutex {
  PthreadMutex() {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutex_init(&mutex, &attributes);
  }
  pthread_mutex_t mutex;
};

TEST_F(MutexTest, LivesBesideRobustPthreadMutexesInAnyOrder) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "two orders are what it warns of, and what this is about";
#endif
  const std::array<test::SharedValue<PthreadMutex>, 2> theirs;
  const Mutex mine;
  const Mutex other;
  Forked child{[&]() -> int {
    auto first = mine.lock().value();
    ::pthread_mutex_lock(&theirs[0]->mutex);
    auto second = other.lock().value();
    ::pthread_mutex_lock(&theirs[1]->mutex);
    first.unlock();
    ::pthread_mutex_unlock(&theirs[0]->mutex);
    first = mine.lock().value();
    ::pthread_mutex_lock(&theirs[0]->mutex);
    second.unlock();
    ::pthread_mutex_unlock(&theirs[1]->mutex);
    second = other.lock().value();
    ::_exit(0);  // with both of ours, and one of theirs
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_TRUE(mine.lock(patience).value().owner_died());
  EXPECT_TRUE(other.lock(patience).value().owner_died());
  EXPECT_EQ(::pthread_mutex_lock(&theirs[0]->mutex), EOWNERDEAD);
  EXPECT_EQ(::pthread_mutex_lock(&theirs[1]->mutex), 0);
  for (const auto& one : theirs) ::pthread_mutex_unlock(&one->mutex);
}

TEST_F(MutexTest, OfAHolderOfMoreThanTheKernelLooksThroughIsFreedAllTheSame) {
  const std::vector<Mutex> many(2100);  // it gives up after 2048
  Forked child{[&]() -> int {
    std::vector<Lock> locks;
    for (const auto& mutex : many) locks.push_back(mutex.lock().value());
    ::_exit(0);
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  for (const auto& mutex : {many.front(), many.back()})
    EXPECT_TRUE(mutex.lock(patience).value().owner_died());
}

TEST_F(MutexTest, ALoadOfImpossibleWordsIsErrorsAndNothingElse) {
  const Mutex mutex;
  const Words words{mutex};
  auto& owner = words.at<detail::FutexWord>(Words::owner);
  owner = 0x2000'0000;
  EXPECT_EQ(mutex.lock(patience).error().kind, ErrorKind::malformed);
  owner = 0x3FFF'FFFE | FUTEX_WAITERS;
  EXPECT_EQ(mutex.lock(patience).error().kind, ErrorKind::malformed);
  owner = static_cast<std::uint32_t>(Forked{[] { return 0; }}.pid());  // gone by now
  EXPECT_TRUE(mutex.lock(patience).value().owner_died());
}

TEST_F(MutexTest, ScribblingOnAHeldOneHarmsNobodyElse) {
  const Mutex mutex;
  const Mutex other;
  auto lock = mutex.lock().value();
  auto second = other.lock().value();
  const Words words{mutex};
  for (std::size_t at = 0; at < 4096; at += sizeof(std::uint64_t))
    words.at<std::uint64_t>(at) = ~std::uint64_t{0};
  lock.unlock();
  second.unlock();
  EXPECT_TRUE(other.lock(patience));
}

}  // namespace
}  // namespace troupe
