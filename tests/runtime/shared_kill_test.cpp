// SPDX-License-Identifier: MIT
// Processes that use locks are killed at random moments, TROUPE_LOCK_KILLS times in each test, and replaced.
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <random>
#include <thread>
#include <troupe/runtime/barrier.hpp>
#include <troupe/runtime/condition.hpp>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/semaphore.hpp>
#include <troupe/runtime/shared.hpp>
#include <troupe/runtime/shared_array.hpp>
#include <vector>

#include "shared_cases.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::patience;

int kills() {
  const char* const wanted = std::getenv("TROUPE_LOCK_KILLS");
  return wanted == nullptr ? 300 : std::atoi(wanted);
}

class LockKillTest : public test::NothingLeft {
 protected:
  static constexpr std::size_t workers = 4;

  /// Kills and replaces workers, each after some microseconds. After each kill the others must go on.
  void kill_at_random(const std::function<int(std::size_t)>& work) {
    std::vector<Forked> children;
    for (std::size_t i = 0; i < workers; ++i) children.emplace_back([&, i] { return work(i); });
    std::uniform_int_distribution<std::size_t> any{0, workers - 1};
    std::uniform_int_distribution<int> pause{0, 1500};
    for (int kill = 0; kill < kills(); ++kill) {
      const std::size_t victim = any(random_);
      for (const auto end = deadline_in(std::chrono::microseconds{pause(random_)}); Clock::now() < end;)
        std::this_thread::yield();
      children[victim].kill();
      const long before = done();
      children[victim] = Forked{[&, victim] { return work(victim); }};
      ASSERT_TRUE(goes_on(before)) << "after kill " << kill << ", seed " << seed_;
    }
  }
  void count() { progress_.fetch_add(1); }
  [[nodiscard]] long done() const { return progress_.load(); }

 private:
  [[nodiscard]] bool goes_on(long before) const {
    const auto deadline = deadline_in(patience);
    while (done() < before + 2 && Clock::now() < deadline) std::this_thread::yield();
    return done() >= before + 2;
  }
  Shared<long> progress_{0};
  const unsigned seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
};

TEST_F(LockKillTest, AMutexKeepsItsDataConsistentAndNobodyWaitingForTheDead) {
  const Mutex mutex;
  const SharedArray<long> both{{.elements = 2}};
  const SharedArray<long> repairs;
  kill_at_random([&](std::size_t) -> int {
    for (;;) {
      auto lock = mutex.lock(patience).value();
      if (lock.owner_died()) {
        both[1] = both[0];
        ++repairs[0];
        lock.repaired();
      }
      if (both[0] != both[1]) return 1;
      ++both[0];
      std::atomic_signal_fence(std::memory_order_seq_cst);
      ++both[1];
      count();
    }
  });
  auto lock = mutex.lock(patience).value();
  if (lock.owner_died()) both[1] = both[0];
  EXPECT_EQ(both[0], both[1]);
  EXPECT_GT(repairs[0], 0) << "nobody was killed with it";
  lock.repaired();
}

TEST_F(LockKillTest, ASemaphoreLosesNoPermitAndGivesNoneTwice) {
  constexpr std::uint32_t permits = 2;
  const Semaphore semaphore{{.permits = permits}};
  const SharedArray<int> holding{{.elements = workers}};
  kill_at_random([&](std::size_t self) -> int {
    holding[self] = 0;
    for (;;) {
      const auto permit = semaphore.acquire(patience).value();
      holding.atomic(self) = 1;
      std::this_thread::yield();
      holding.atomic(self) = 0;
      count();
    }
  });
  // All workers are dead by now.
  std::array<Permit, permits> all{};
  for (Permit& permit : all) permit = semaphore.acquire(patience).value();
  EXPECT_EQ(semaphore.try_acquire().error().kind, ErrorKind::timed_out);
}

TEST_F(LockKillTest, AConditionGoesOnWakingTheLiving) {
  const Mutex mutex;
  const Condition condition;
  const SharedArray<int> tokens;
  // Each worker takes a token, puts it back and tells one other; with few tokens most of them wait.
  tokens[0] = 1;
  kill_at_random([&](std::size_t) -> int {
    for (;;) {
      auto lock = mutex.lock(patience).value();
      // A word that is changed last cannot be half-done; a token that died with its holder is made anew.
      if (lock.owner_died()) lock.repaired();
      const auto woken = condition.wait_for(lock, 20ms, [&] { return tokens[0] > 0; });
      if (lock.owner_died()) lock.repaired();
      if (!woken)
        tokens[0] = 0;
      else
        --tokens[0];
      lock.unlock();
      count();
      lock = mutex.lock(patience).value();
      if (lock.owner_died()) lock.repaired();
      ++tokens[0];
      condition.notify_one();
    }
  });
}

TEST_F(LockKillTest, ANotificationThatWasKilledWithItsWaiterComesToAnother) {
  const Mutex mutex;
  const Condition condition;
  const SharedArray<long> tokens;
  std::vector<Forked> children;
  const auto work = [&] {
    for (;;) {
      auto lock = mutex.lock(patience).value();
      if (lock.owner_died()) lock.repaired();
      const auto woken = condition.wait_for(lock, patience, [&] { return tokens.atomic(0) > 0; });
      if (lock.owner_died()) lock.repaired();
      if (woken) --tokens.atomic(0);
      count();
    }
    return 0;
  };
  for (std::size_t i = 0; i < workers; ++i) children.emplace_back(work);
  std::mt19937 random{std::random_device{}()};
  for (int kill = 0; kill < kills(); ++kill) {
    const std::size_t victim = std::uniform_int_distribution<std::size_t>{0, workers - 1}(random);
    {
      auto lock = mutex.lock(patience).value();
      if (lock.owner_died()) lock.repaired();
      ++tokens.atomic(0);
      condition.notify_one();
    }
    children[victim].kill();
    for (const auto deadline = deadline_in(patience); tokens.atomic(0) > 0 && Clock::now() < deadline;)
      std::this_thread::yield();
    ASSERT_EQ(tokens.atomic(0).load(), 0) << "after kill " << kill;
    children[victim] = Forked{work};
  }
}

TEST_F(LockKillTest, ABarrierBreaksWithEveryDeathAndIsWholeAfterAReset) {
  const Barrier barrier{{.parties = 3}};
  const Event stop;
  const auto work = [&] {
    while (barrier.wait(patience)) count();
    return barrier.broken() ? 0 : 1;  // killed, not timed out
  };
  std::mt19937 random{std::random_device{}()};
  for (int kill = 0; kill < kills() / 10; ++kill) {
    std::vector<Forked> parties;
    for (int i = 0; i < 3; ++i) parties.emplace_back(work);
    const long before = done();
    for (const auto deadline = deadline_in(patience); done() < before + 3 && Clock::now() < deadline;)
      std::this_thread::yield();
    parties[std::uniform_int_distribution<std::size_t>{0, 2}(random)].kill();
    int ended = 0;
    for (Forked& party : parties) ended += party.exit_code(deadline_in(patience)) == 0 ? 1 : 0;
    ASSERT_EQ(ended, 2) << "after kill " << kill;
    barrier.reset();
  }
}

TEST_F(LockKillTest, ASharedStructIsNeverTorn) {
  using Four = std::array<long, 4>;
  const Shared<Four> shared{Four{}};
  kill_at_random([&](std::size_t) -> int {
    for (Shared<Four> own{shared};;) {
      const auto value = own.update([](Four& it) { it.fill(it[0] + 1); }, patience).value();
      const auto seen = own.read().value();
      if (seen != Four{seen[0], seen[0], seen[0], seen[0]} || seen[0] < value[0]) return 1;
      count();
    }
  });
  const auto last = shared.read().value();
  EXPECT_EQ(last, (Four{last[0], last[0], last[0], last[0]}));
}

}  // namespace
}  // namespace troupe
