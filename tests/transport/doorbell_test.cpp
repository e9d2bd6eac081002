// SPDX-License-Identifier: MIT
#include <troupe/transport/doorbell.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using Woken = BellWaiter::Woken;

class Bell : public test::NothingLeft {
 protected:
  OwnedFd bell = create_bell().value();
  BellWaiter waiter = BellWaiter::create(bell.get()).value();
};

/// Waits until only the deadline is left to be reported; spurious bells are allowed, for ever is not.
bool reaches_deadline(BellWaiter& waiter, TimePoint deadline) {
  for (int i = 0; i < 100; ++i) {
    if (waiter.wait(deadline) == Woken::deadline) return true;
  }
  return false;
}

TEST_F(Bell, WakesASleeper) {
  std::thread ringer{[&] { ring(bell.get()); }};
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::bell);
  ringer.join();
}

TEST_F(Bell, RungBeforeTheSleepIsNotLost) {
  ring(bell.get());
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::bell);
}

TEST_F(Bell, RungBeforeItsWaiterWasMadeIsNotLost) {
  ring(bell.get());
  auto later = BellWaiter::create(bell.get()).value();
  EXPECT_EQ(later.wait(deadline_in(10s)), Woken::bell);
}

TEST_F(Bell, WakesForEachRingThoughNobodyReadsIt) {
  for (int i = 0; i < 1000; ++i) {
    ring(bell.get());
    ASSERT_EQ(waiter.wait(deadline_in(10s)), Woken::bell) << "ring " << i;
  }
  std::uint64_t rings = 0;
  ASSERT_EQ(::read(bell.get(), &rings, sizeof rings), 8);
  EXPECT_EQ(rings, 1000U);
}

TEST_F(Bell, IsQuietAfterItsRingHasBeenReported) {
  ring(bell.get());
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::bell);
  EXPECT_TRUE(reaches_deadline(waiter, deadline_in(1ms)));
}

TEST_F(Bell, NeverBlocksItsRingerEvenWhenFull) {
  constexpr std::uint64_t almost_all = std::numeric_limits<std::uint64_t>::max() - 1;
  ASSERT_EQ(::write(bell.get(), &almost_all, sizeof almost_all), 8);
  ring(bell.get());
  ring(bell.get());
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::bell);
}

TEST_F(Bell, WakesForEachRingThoughSomebodyFillsItAgainAndAgain) {
  constexpr std::uint64_t almost_all = std::numeric_limits<std::uint64_t>::max() - 1;
  for (int i = 0; i < 100; ++i) {
    [[maybe_unused]] const auto filled = ::write(bell.get(), &almost_all, sizeof almost_all);
    while (waiter.wait(Clock::now()) == Woken::bell) {}
    ring(bell.get());
    ASSERT_EQ(waiter.wait(deadline_in(10s)), Woken::bell) << "ring " << i << " met a full bell";
  }
}

TEST_F(Bell, ThatIsNoDescriptorIsIgnoredByItsRinger) { ring(-1); }

TEST_F(Bell, IsNotInheritedByOtherPrograms) {
  EXPECT_EQ(::fcntl(bell.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(::fcntl(waiter.descriptor(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(Bell, EndsNoWaitBeforeItsDeadline) {
  for (const auto within : {0ns, 1ns, 300'000ns, 1'000'001ns, 5'500'000ns}) {
    const auto deadline = deadline_in(within);
    ASSERT_TRUE(reaches_deadline(waiter, deadline));
    EXPECT_GE(Clock::now(), deadline) << within.count() << " ns";
  }
}

TEST_F(Bell, ReportsADeadlineThatHasPassedAtOnce) {
  EXPECT_EQ(waiter.wait(Clock::now() - 1s), Woken::deadline);
}

TEST_F(Bell, IsReportedEvenIfTheDeadlineHasPassed) {
  ring(bell.get());
  EXPECT_EQ(waiter.wait(Clock::now() - 1s), Woken::bell);
}

TEST_F(Bell, CanBeWaitedForWithoutADeadline) {
  std::thread ringer{[&] { ring(bell.get()); }};
  EXPECT_EQ(waiter.wait(never), Woken::bell);
  ringer.join();
}

TEST_F(Bell, LosesNoEdgeBetweenTwoThreads) {
  const auto answer = create_bell().value();
  auto answer_waiter = BellWaiter::create(answer.get()).value();
  constexpr int rounds = 20'000;
  const auto deadline = deadline_in(60s);
  // Spurious wake-ups are possible, so each side counts what the other has done, not how often it woke.
  std::atomic<int> asked{0};
  std::atomic<int> answered{0};
  std::thread other{[&] {
    for (int i = 1; i <= rounds; ++i) {
      while (asked.load() < i) {
        if (waiter.wait(deadline) == Woken::deadline) return;
      }
      answered.store(i);
      ring(answer.get());
    }
  }};
  for (int i = 1; i <= rounds; ++i) {
    asked.store(i);
    ring(bell.get());
    while (answered.load() < i) {
      if (answer_waiter.wait(deadline) == Woken::deadline) break;
    }
  }
  other.join();
  EXPECT_EQ(answered.load(), rounds) << "a ring was lost";
}

TEST_F(Bell, SharesItsSleepWithWatchedDescriptors) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd reader{ends[0]};
  OwnedFd writer{ends[1]};
  ASSERT_TRUE(waiter.watch(reader.get()));
  EXPECT_TRUE(reaches_deadline(waiter, deadline_in(1ms)));

  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::watched);
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::watched) << "until it is no longer so";
  char byte = 0;
  ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_TRUE(reaches_deadline(waiter, deadline_in(1ms)));

  writer.reset();
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::watched) << "hung up";
}

TEST_F(Bell, IsNotStarvedByAWatchedDescriptor) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd reader{ends[0]};
  const OwnedFd writer{ends[1]};
  ASSERT_TRUE(waiter.watch(reader.get()));
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  ring(bell.get());
  const auto first = waiter.wait(deadline_in(10s));
  const auto second = waiter.wait(deadline_in(10s));
  EXPECT_NE(first, second) << "both are ready, so both are told";
}

TEST_F(Bell, SleeperNoticesThatAProcessHasEnded) {
  test::Forked child{[] { return 0; }};
  ASSERT_TRUE(waiter.watch(child.descriptor()));
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::watched);
  EXPECT_EQ(child.exit_code(deadline_in(10s)), 0);
}

TEST_F(Bell, OffersADescriptorForForeignLoops) {
  pollfd loop{waiter.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&loop, 1, 0), 0);
  ring(bell.get());
  EXPECT_EQ(::poll(&loop, 1, 10'000), 1);
  EXPECT_EQ(waiter.wait(deadline_in(10s)), Woken::bell);
  EXPECT_EQ(::poll(&loop, 1, 0), 0);
}

TEST_F(Bell, CannotBeWaitedForIfItIsNone) {
  EXPECT_FALSE(BellWaiter::create(-1));
  EXPECT_FALSE(waiter.watch(-1));
}

TEST_F(Bell, WithoutADescriptorLeftIsExhausted) {
  test::Forked child{[this] {
    const rlimit limit{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const auto other = create_bell();
    const auto other_waiter = BellWaiter::create(bell.get());
    if (other || other.error().kind != ErrorKind::exhausted) return 2;
    return !other_waiter && other_waiter.error().kind == ErrorKind::exhausted ? 0 : 3;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(10s)), 0);
}

}  // namespace
}  // namespace troupe
