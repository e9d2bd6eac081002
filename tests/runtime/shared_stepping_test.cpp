// SPDX-License-Identifier: MIT
// Every instruction of locking and unlocking, with nobody and with somebody waiting, of taking and giving
// back a permit, and of changing a shared value: SIGKILL there, and the next one goes on.
// See tests/support/transport/stepping_cases.hpp.

#include <linux/futex.h>

#include <thread>
#include <troupe/runtime/barrier.hpp>
#include <troupe/runtime/condition.hpp>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/process_table.hpp>
#include <troupe/runtime/semaphore.hpp>
#include <troupe/runtime/shared.hpp>

#include "shared_cases.hpp"
#include "transport/stepping_cases.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Fault;
using test::Files;
using test::Forked;
using test::Journal;
using test::making;
using test::mark;
using test::patience;
using test::Scenario;
using test::Verdict;
using test::write;

/// What is judged lies in the objects, which the test shares with the child.
class InPlace : public Scenario {
 public:
  [[nodiscard]] std::vector<int> files() const override { return {}; }
};

enum Stage : std::uint64_t { outside, inside, left };

/// Locks and unlocks.
class LockAndUnlock : public InPlace {
 public:
  void run() override {
    mark();
    auto lock = mutex_.lock().value();
    write(journal().steps, inside);
    lock.unlock();
    write(journal().steps, left);
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal& journal) const override {
    auto next = mutex_.lock(patience);
    if (!next) return {.fault = Fault::stuck, .text = next.error().text};
    if (journal.steps == left && next->owner_died())
      return {.fault = Fault::twice, .text = "a death is reported of one that had left"};
    next->repaired();
    return {};
  }

 private:
  Mutex mutex_;
};

/// Dies while it holds it, whenever that is.
class HoldOn : public InPlace {
 public:
  void run() override {
    auto lock = mutex_.lock().value();
    mark();
    for (int i = 0; i < 150; ++i) write(journal().sent, static_cast<std::uint64_t>(i));
    mark();
    lock.unlock();
  }
  [[nodiscard]] Verdict judge(Files, const Journal&) const override {
    const auto next = mutex_.lock(patience);
    if (!next) return {.fault = Fault::stuck, .text = next.error().text};
    if (!next->owner_died()) return {.fault = Fault::lost, .text = "nobody is told of the death"};
    return {};
  }

 private:
  Mutex mutex_;
};

/// Unlocks while another process sleeps for it. That one is to get it, and the judge after it.
class UnlockForASleeper : public InPlace {
 public:
  void run() override {
    auto lock = mutex_.lock().value();
    write(journal().steps, inside);
    auto& owner = words_.at<detail::FutexWord>(test::Words::owner);
    while ((owner.load() & FUTEX_WAITERS) == 0) std::this_thread::yield();
    mark();
    lock.unlock();
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal&) const override {
    if (sleeper_.exit_code(deadline_in(patience)) != 0)
      return {.fault = Fault::stuck, .text = "the sleeper did not get it"};
    const auto next = mutex_.lock(patience);
    if (!next) return {.fault = Fault::stuck, .text = next.error().text};
    return {};
  }

 private:
  int sleep_for_it() const {
    while (std::atomic_ref{journal().steps}.load() != inside) std::this_thread::yield();
    auto lock = mutex_.lock(patience).value();
    lock.repaired();
    return 0;
  }
  Mutex mutex_;
  test::Words words_{mutex_};
  mutable Forked sleeper_{[this] { return sleep_for_it(); }};
};

/// Waits for a mutex in vain, while the test holds it. A later sleeper is not to miss its turn for that.
class WaitInVain : public InPlace {
 public:
  void run() override {
    Forked holder{[this]() -> int {
      const auto lock = mutex_.lock().value();
      write(journal().steps, inside);
      for (;;) std::this_thread::yield();
    }};
    while (std::atomic_ref{journal().steps}.load() != inside) std::this_thread::yield();
    mark();
    [[maybe_unused]] const auto lock = mutex_.lock(Duration{1});
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal&) const override {
    const auto next = mutex_.lock(patience);  // the holder died with the child
    if (!next) return {.fault = Fault::stuck, .text = next.error().text};
    return {};
  }

 private:
  Mutex mutex_;
};

/// Takes a permit and gives it back, or uses it up.
class TakeAPermit : public InPlace {
 public:
  enum class Then { release, spend };
  explicit TakeAPermit(Then then) : then_{then} {}
  void run() override {
    [[maybe_unused]] const auto known = detail::own_process_word();
    mark();
    auto permit = semaphore_.acquire().value();
    write(journal().steps, inside);
    if (then_ == Then::release)
      permit.release();
    else
      permit.spend();
    write(journal().steps, left);
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal& journal) const override {
    const auto first = semaphore_.acquire(patience);
    if (!first) return {.fault = Fault::stuck, .text = first.error().text};
    const auto second = semaphore_.acquire(then_ == Then::release ? patience : Duration{60ms});
    if (then_ == Then::release && !second)
      return {.fault = Fault::lost, .text = "a permit did not come back"};
    if (then_ == Then::spend && journal.steps == left && second)
      return {.fault = Fault::twice, .text = "a permit that was used up came back"};
    if (semaphore_.acquire(Duration::zero())) return {.fault = Fault::twice, .text = "a permit more"};
    return {};
  }

 private:
  Then then_;
  Semaphore semaphore_{{.permits = 2}};
};

struct Three {
  std::uint64_t first = 1;
  std::uint64_t second = 1;
  std::uint64_t third = 1;
  friend bool operator==(const Three&, const Three&) = default;
};

class UpdateAValue : public InPlace {
 public:
  void run() override {
    mark();
    auto updated = value_.update([](Three& it) { it = {2, 2, 2}; });
    write(journal().committed, updated ? 1 : 0);
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal& journal) const override {
    const auto found = value_.read(patience).value();
    const Three before{1, 1, 1};
    const Three after{2, 2, 2};
    if (found != before && found != after) return {.fault = Fault::torn, .text = "neither old nor new"};
    if (journal.committed != 0 && found != after)
      return {.fault = Fault::lost, .text = "kept, and not there"};
    auto next = Shared<Three>{value_}.update([](Three& it) { it = {3, 3, 3}; }, patience);
    if (!next) return {.fault = Fault::stuck, .text = next.error().text};
    return {};
  }

 private:
  Shared<Three> value_{Three{}};
};

/// Comes to a barrier of two at which nobody else is, and goes again.
class ComeToABarrier : public InPlace {
 public:
  void run() override {
    [[maybe_unused]] const auto known = detail::own_process_word();
    mark();
    [[maybe_unused]] const auto index = barrier_.wait(Duration{1});
    mark();
  }
  [[nodiscard]] Verdict judge(Files, const Journal&) const override {
    barrier_.reset();
    Forked other{[this] { return barrier_.wait(patience) ? 0 : 1; }};
    const auto index = barrier_.wait(patience);
    if (!index) return {.fault = Fault::stuck, .text = index.error().text};
    return other.exit_code(deadline_in(patience)) == 0 ? Verdict{} : Verdict{Fault::stuck, "the other"};
  }

 private:
  Barrier barrier_{{.parties = 2}};
};

class SharedStepping : public test::SteppingTest {
 protected:
  static void expect_sound_when_killed(const char* what, const test::Factory& make, std::size_t stride) {
    const auto tally = test::kill_at_each(make, test::step_stride(stride));
    tally.print("killed at", what);
    EXPECT_GT(tally.points, 50U);
    EXPECT_EQ(tally.caught(), 0U) << tally.first;
  }
};

TEST_F(SharedStepping, ANextOwnerGetsAMutexWhereverItsHolderIsKilledInLockAndUnlock) {
  expect_sound_when_killed("lock and unlock", making<LockAndUnlock>(), 1);
}

TEST_F(SharedStepping, ADeathWithTheMutexHeldIsAlwaysReported) {
  expect_sound_when_killed("holding", making<HoldOn>(), 5);
}

TEST_F(SharedStepping, ASleeperGetsAMutexWhereverItsHolderIsKilledInUnlock) {
  expect_sound_when_killed("unlock with a sleeper", making<UnlockForASleeper>(), 1);
}

TEST_F(SharedStepping, AWaiterThatIsKilledAnywhereTakesNothingAlong) {
  expect_sound_when_killed("waiting in vain", making<WaitInVain>(), 7);
}

TEST_F(SharedStepping, APermitComesBackWhereverItsHolderIsKilled) {
  expect_sound_when_killed("acquire and release", making<TakeAPermit>(TakeAPermit::Then::release), 2);
}

TEST_F(SharedStepping, APermitThatWasUsedUpDoesNotComeBack) {
  expect_sound_when_killed("acquire and spend", making<TakeAPermit>(TakeAPermit::Then::spend), 7);
}

TEST_F(SharedStepping, AnUpdateIsThereOrNotWhereverItsWriterIsKilled) {
  expect_sound_when_killed("update", making<UpdateAValue>(), 2);
}

TEST_F(SharedStepping, ABarrierIsUsableAfterAResetWhereverAPartyIsKilled) {
  expect_sound_when_killed("come to a barrier", making<ComeToABarrier>(), 61);
}

}  // namespace
}  // namespace troupe
