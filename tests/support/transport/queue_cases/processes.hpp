// SPDX-License-Identifier: MIT
#pragma once
// Many processes, and those that are killed or stopped.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "transport/queue_cases/fixture.hpp"
#include "transport/shared_value.hpp"

namespace troupe::test {

TEST_P(QueueConformance, PassesItemsBetweenProcesses) {
  auto queue = make<Job>();
  Forked sender{[&] {
    auto out = found<Job>().sender();
    for (int i = 0; i < 1000; ++i) out.put({i, "job"}, patience).value();
    return 0;
  }};
  auto in = queue.receiver();
  for (int i = 0; i < 1000; ++i) {
    auto job = in.get(patience).value();
    ASSERT_EQ(job->number, i);
    job.acknowledge();
  }
  EXPECT_EQ(sender.exit_code(soon()), 0);
}

TEST_P(QueueConformance, KeepsAMebibyteOfASenderThatIsGoneWithoutAReader) {
  auto queue = make<Bytes>({.bytes_max = 4U << 20U});
  Forked sender{[&] {
    found<Bytes>().sender().put(pattern(9, 1U << 20U)).value();
    return 0;
  }};
  ASSERT_EQ(sender.exit_code(soon()), 0) << "nobody reads, and it ends";
  Forked killed{[&] {
    auto out = found<Bytes>().sender();
    out.put(pattern(10, 1U << 20U)).value();
    ::kill(::getpid(), SIGKILL);  // at once
    return 1;
  }};
  ASSERT_TRUE(killed.wait(soon()));
  auto in = queue.receiver();
  for (const std::uint64_t seed : {9U, 10U}) {
    auto item = in.get(patience).value();
    EXPECT_EQ(*item, pattern(seed, 1U << 20U));
    item.acknowledge();
  }
}

TEST_P(QueueConformance, GivesAnItemOfADeadReceiverToAnother) {
  auto queue = make();
  queue.sender().put(42).value();
  const Gate taken;
  Forked victim{[&] {
    auto in = found().receiver();
    auto item = in.get(patience).value();
    taken.open();
    ::pause();
    return 1;
  }};
  ASSERT_TRUE(taken.wait());
  auto in = queue.receiver();
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out") << "it lives, and has it";
  std::thread killer{[&] { victim.kill(); }};
  auto item = in.get(patience).value();
  EXPECT_EQ(*item, 42);
  EXPECT_EQ(item.attempt(), 2U);
  item.acknowledge();
  killer.join();
}

TEST_P(QueueConformance, GivesAnItemOfAStoppedReceiverToNobodyElse) {
  auto queue = make();
  queue.sender().put(42).value();
  Forked stopped{[&] {
    auto in = found().receiver();
    auto item = in.get(patience).value();
    ::raise(SIGSTOP);
    item.acknowledge();
    return 0;
  }};
  siginfo_t stop{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(stopped.pid()), &stop, WSTOPPED | WEXITED | WNOWAIT), 0);
  ASSERT_EQ(stop.si_code, CLD_STOPPED);
  auto in = queue.receiver();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(in.get(10ms)) << "it is not dead, however long that takes";
  ::kill(stopped.pid(), SIGCONT);
  EXPECT_EQ(stopped.exit_code(soon()), 0) << "it has kept what it had";
  ASSERT_TRUE(queue.drain(patience));
  EXPECT_EQ(queue.counts().given_back, 0U);
}

TEST_P(QueueConformance, GivesAnItemToAReceiverThatSleepsWhileAnotherIsBusy) {
  constexpr std::uint32_t rounds = 20;
  auto queue = make();
  const SharedValue<std::atomic<std::uint32_t>> taken;
  const auto all_taken = [&](std::uint32_t count) {
    const TimePoint deadline = soon();
    while (*taken < count && Clock::now() < deadline) std::this_thread::yield();
    return *taken >= count;
  };
  const auto receive = [&] {
    auto in = found().receiver();
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      auto item = in.get(patience).value();
      ++*taken;
      if (!all_taken(2 * round)) return 1;  // busy until the other has the other one
      item.acknowledge();
    }
    return 0;
  };
  Forked one{receive};
  Forked other{receive};
  auto out = queue.sender();
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    ASSERT_TRUE(falls_asleep(one.pid(), soon()) && falls_asleep(other.pid(), soon()));
    out.put(1).value();
    out.put(2).value();
    ASSERT_TRUE(all_taken(2 * round)) << "in round " << round;
  }
  EXPECT_EQ(one.exit_code(soon()), 0);
  EXPECT_EQ(other.exit_code(soon()), 0);
}

TEST_P(QueueConformance, SetsAnItemAsideThatKillsItsReceivers) {
  auto queue = make({.attempts_max = 3});
  queue.sender().put(13).value();
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    Forked victim{[&] {
      auto in = found().receiver();
      auto item = in.get(patience).value();
      if (*item != 13 || item.attempt() != attempt) return 1;
      ::kill(::getpid(), SIGKILL);
      return 2;
    }};
    const auto status = victim.wait(soon());
    ASSERT_TRUE(status);
    EXPECT_TRUE(WIFSIGNALED(*status)) << WEXITSTATUS(*status);
  }
  auto in = queue.receiver();
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out");
  ASSERT_TRUE(queue.drain(patience));
  ASSERT_EQ(queue.quarantine().size(), 1U);
  EXPECT_EQ(queue.quarantine()[0].cause, QuarantinedItem::Cause::attempts);
  EXPECT_EQ(queue.quarantine()[0].attempts, 3U);
  EXPECT_EQ(queue.counts(), (QueueCounts{.put = 1, .given_back = 3, .quarantined = 1}));
}

TEST_P(QueueConformance, GivesTheItemsOfSendersThatHaveDiedAndTheirPlaceToTheNext) {
  auto queue = make({.senders_max = 1});
  for (int i = 0; i < 5; ++i) {
    Forked sender{[&] {
      auto access = found();
      auto out = access.try_sender();
      // A death may be seen a moment later; then the place is free.
      for (const auto by = soon(); !out && out.error().kind == ErrorKind::exhausted && Clock::now() < by;)
        out = access.try_sender();
      out.value().put(i, patience).value();
      ::_exit(0);
      return 1;
    }};
    ASSERT_EQ(sender.exit_code(soon()), 0);
  }
  auto in = queue.receiver();
  EXPECT_EQ(drained(in), (std::vector{0, 1, 2, 3, 4}));
}

TEST_P(QueueConformance, RefusesTheCopiesInAForkedChildWhichFindsItByItself) {
  auto queue = make();
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(1).value();
  auto held = in.get(patience).value();
  Forked child{[&] {
    if (kind_of(out.put_nowait(2)) != "refused") return 1;
    if (kind_of(in.get_nowait()) != "refused") return 2;
    if (kind_of(queue.try_sender()) != "refused") return 3;
    { const auto gone = std::move(held); }
    return found().sender().put(9, patience) ? 0 : 4;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
  EXPECT_EQ(queue.size(), 2U) << "the copies have neither put nor given back anything";
  held.acknowledge();
  auto own = in.get(patience).value();
  EXPECT_EQ(*own, 9);
  own.acknowledge();
  ASSERT_TRUE(queue.drain(patience));
}

TEST_P(QueueConformance, SharesTheWorkAmongManyReceiversAndNothingIsDoneTwice) {
  constexpr int jobs = 1000;
  constexpr int workers = 4;
  auto work = make();
  const auto way_to_work = std::move(way());
  auto results = make({.items_max = jobs});
  std::vector<Forked> processes;
  for (int i = 0; i < workers; ++i)
    processes.emplace_back([&] {
      auto in = found(way_to_work).receiver();
      auto out = found().sender();
      for (auto& job : in) {
        out.put(*job, patience).value();
        job.acknowledge();
      }
      return 0;
    });
  {
    auto out = work.sender();
    for (int i = 0; i < jobs; ++i) out.put(i, patience).value();
  }
  work.close();
  auto in = results.receiver();
  std::set<int> seen;
  for (int i = 0; i < jobs; ++i) {
    auto result = in.get(patience).value();
    EXPECT_TRUE(seen.insert(*result).second) << *result << " was done twice";
    result.acknowledge();
  }
  for (auto& process : processes) EXPECT_EQ(process.exit_code(soon()), 0);
}

}  // namespace troupe::test
