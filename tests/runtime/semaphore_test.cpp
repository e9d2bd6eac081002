// SPDX-License-Identifier: MIT
#include <troupe/runtime/semaphore.hpp>

#include <unistd.h>

#include <array>
#include <thread>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/shared.hpp>
#include <vector>

#include "shared_cases.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Child;
using test::Forked;
using test::patience;

[[noreturn]] void hang() {
  for (;;) ::pause();
}
void hold_two_and_hang(const Semaphore& semaphore, const Event& held) {
  const std::array permits{semaphore.acquire(patience).value(), semaphore.acquire(patience).value()};
  held.set();
  hang();
}
void hold_one_and_exit(const Semaphore& semaphore) {
  const auto permit = semaphore.acquire(patience).value();
  ::_exit(0);
}
void take_and_give_back(const Semaphore& semaphore, Shared<int> inside, Shared<int> most, int times) {
  for (int i = 0; i < times; ++i) {
    const auto permit = semaphore.acquire(patience).value();
    const int now = inside.fetch_add(1) + 1;
    most.update([&](int& it) { it = std::max(it, now); }).value();
    inside.fetch_subtract(1);
  }
}
void take_what_comes(const Semaphore& semaphore, Shared<int> taken, int times) {
  for (int i = 0; i < times; ++i) {
    semaphore.acquire(patience).value().spend();
    taken.fetch_add(1);
  }
}

class SemaphoreBetweenProcesses : public test::BetweenProcesses {};

TEST_P(SemaphoreBetweenProcesses, LetsInAsManyAsItHasPermits) {
  const Semaphore semaphore{{.permits = 2}};
  const Shared<int> inside{0};
  const Shared<int> most{0};
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) children.push_back(start(take_and_give_back, semaphore, inside, most, 1000));
  for (Child& child : children) EXPECT_TRUE(child.ended_well());
  EXPECT_GE(most.load(), 1);
  EXPECT_LE(most.load(), 2);
  EXPECT_EQ(semaphore.available(), 2U);
}

TEST_P(SemaphoreBetweenProcesses, BothPermitsOfAKilledHolderComeBackToOneWhoWaits) {
  const Semaphore semaphore{{.permits = 2}};
  const Event held;
  Child holder = start(hold_two_and_hang, semaphore, held);
  held.wait(patience).value();
  EXPECT_EQ(semaphore.available(), 0U);
  EXPECT_EQ(semaphore.try_acquire().error().kind, ErrorKind::timed_out);
  holder.kill();
  const auto first = semaphore.acquire(patience);
  const auto second = semaphore.acquire(patience);
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
  EXPECT_EQ(semaphore.try_acquire().error().kind, ErrorKind::timed_out) << "they came back once";
}

TEST_P(SemaphoreBetweenProcesses, ThePermitOfOneThatExitedWithItComesBack) {
  const Semaphore semaphore;
  Child holder = start(hold_one_and_exit, semaphore);
  EXPECT_TRUE(holder.ended_well());
  EXPECT_TRUE(semaphore.acquire(patience));
}

TEST_P(SemaphoreBetweenProcesses, CountsWhatIsToBeDone) {
  const Semaphore things{{.permits = 0, .permits_max = 1000}};
  const Shared<int> taken{0};
  Child one = start(take_what_comes, things, taken, 50);
  Child other = start(take_what_comes, things, taken, 50);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(things.release(2));
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(other.ended_well());
  EXPECT_EQ(taken.load(), 100);
  EXPECT_EQ(things.available(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Runtime, SemaphoreBetweenProcesses, test::all_ways, test::name_of_way);

class SemaphoreTest : public test::NothingLeft {};

TEST_F(SemaphoreTest, CountsItsPermits) {
  const Semaphore semaphore{{.permits = 3}};
  EXPECT_EQ(semaphore.available(), 3U);
  auto first = semaphore.acquire().value();
  auto second = semaphore.acquire().value();
  auto third = semaphore.try_acquire().value();
  EXPECT_EQ(semaphore.available(), 0U);
  EXPECT_EQ(semaphore.try_acquire().error().kind, ErrorKind::timed_out);
  first.release();
  first.release();
  EXPECT_EQ(semaphore.available(), 1U);
  second = std::move(third);
  EXPECT_EQ(semaphore.available(), 2U) << "what it held was given back";
  EXPECT_FALSE(third.held());
  EXPECT_TRUE(second.held());
}

TEST_F(SemaphoreTest, IssuingMoreThanItsBoundIsAnErrorAndChangesNothing) {
  const Semaphore semaphore{{.permits = 1, .permits_max = 3}};
  EXPECT_EQ(semaphore.release(3).error().kind, ErrorKind::invalid);
  EXPECT_EQ(semaphore.available(), 1U);
  EXPECT_TRUE(semaphore.release(2));
  EXPECT_EQ(semaphore.release().error().kind, ErrorKind::invalid);
  const auto permit = semaphore.acquire().value();
  EXPECT_EQ(semaphore.release().error().kind, ErrorKind::invalid) << "what is held counts as well";
  EXPECT_EQ(semaphore.available(), 2U);
}

TEST_F(SemaphoreTest, RefusesOptionsThatMakeNoSense) {
  EXPECT_EQ(Semaphore::create({.permits = 0}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(Semaphore::create({.permits = 3, .permits_max = 2}).error().kind, ErrorKind::invalid);
}

TEST_F(SemaphoreTest, WaitsAsLongAsItWasTold) {
  const Semaphore semaphore{{.permits = 0, .permits_max = 1}};
  const test::SignalStorm storm{300us};
  for (const auto within : {Duration{1ms}, Duration{120ms}}) {
    const auto before = Clock::now();
    EXPECT_EQ(semaphore.acquire(within).error().kind, ErrorKind::timed_out);
    EXPECT_GE(Clock::now() - before, within);
  }
}

TEST_F(SemaphoreTest, AReleaseWakesOneThatWaits) {
  const Semaphore semaphore;
  for (int round = 0; round < 500; ++round) {
    auto permit = semaphore.acquire().value();
    std::thread other{[&] { semaphore.acquire(patience).value().release(); }};
    if (round % 2 == 0) std::this_thread::yield();
    permit.release();
    other.join();
  }
  EXPECT_EQ(semaphore.available(), 1U);
}

TEST_F(SemaphoreTest, AForkedChildsCopyOfAPermitDoesNothing) {
  const Semaphore semaphore{{.permits = 2}};
  auto permit = semaphore.acquire().value();
  Forked child{[&] {
    permit.release();
    auto own = semaphore.acquire(patience).value();
    return semaphore.available() == 0 ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  const auto other = semaphore.acquire(patience);
  EXPECT_TRUE(other);
  EXPECT_EQ(semaphore.available(), 0U);
  permit.release();
  EXPECT_EQ(semaphore.available(), 1U);
}

TEST_F(SemaphoreTest, APermitMayEndInAnotherThread) {
  const Semaphore semaphore;
  auto permit = semaphore.acquire().value();
  std::thread{[it = std::move(permit)]() mutable { it.release(); }}.join();
  EXPECT_EQ(semaphore.available(), 1U);
}

TEST_F(SemaphoreTest, HasHoldersInAsManyProcessesAsItSaysAndSaysSoBeyond) {
  constexpr std::size_t holders = 240;
  const Semaphore semaphore{{.permits = 1000}};
  const Event enough;
  std::vector<Forked> children;
  for (std::size_t i = 0; i < holders; ++i)
    children.emplace_back([&] {
      const auto permit = semaphore.acquire(patience).value();
      enough.wait(patience).value();
      return 0;
    });
  const auto deadline = deadline_in(patience);
  while (semaphore.available() != 1000 - holders && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(semaphore.acquire(patience).error().kind, ErrorKind::exhausted);
  enough.set();
  for (Forked& child : children) EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_TRUE(semaphore.acquire(patience));
}

TEST_F(SemaphoreTest, OverwrittenWordsHarmNothingElse) {
  Forked child{[] {
    const Semaphore semaphore;
    const Semaphore other;
    auto permit = semaphore.acquire().value();
    const test::Words words{semaphore};
    for (const std::uint64_t pattern : {0x7FFF'FFFF'FFFF'FFFFU, ~0UL, 0x0000'0001'0000'0001U, 0UL}) {
      for (std::size_t at = 64; at < 4080; at += sizeof pattern) words.at<std::uint64_t>(at) = pattern;
      auto another = semaphore.acquire(1ms);
      [[maybe_unused]] const auto released = semaphore.release();
      if (another) another->spend();
    }
    permit.release();
    return other.acquire() && semaphore.available() == 0 ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

}  // namespace
}  // namespace troupe
