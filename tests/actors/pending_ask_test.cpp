// SPDX-License-Identifier: MIT
// Many questions under way in one thread.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <troupe/actors/pending_ask.hpp>
#include <troupe/transport/syscall.hpp>

#include "actor_test.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using detail::AskWaiter;
using detail::PendingAsk;
using detail::ReplyBytes;
using test::patience;

struct Double {
  using reply = int;
  int number = 0;
};
struct Hold {
  using reply = int;
  std::string inbox{};
  std::string gate{};
};
struct Oracle {
  using accepts = messages<Double, Hold>;
  int on(const Double& question) { return question.number * 2; }
  int on(const Hold& question) {
    test::say(question.inbox, std::to_string(::getpid()));
    test::pass(question.gate);
    return -1;
  }
};

template <class M>
Result<PendingAsk> start(const Ref<Oracle>& to, const M& message, Duration within = patience) {
  return PendingAsk::start(to.role(), type_id<M>, detail::Payload::of(message), deadline_in(within));
}

class PendingAskTest : public test::ActorTest {
 protected:
  Hold hold() { return {inbox.path(), gate.path()}; }
  /// Waits for an end as a loop does.
  static Result<int> wait(PendingAsk& ask) {
    auto waiter = AskWaiter::create().value();
    const TimePoint deadline = deadline_in(patience);
    while (Clock::now() < deadline) {
      if (auto end = ask.end()) {
        if (!*end) return failure(std::move(*end));
        return decode<int>((**end).bytes);
      }
      if (auto slept = waiter.sleep(deadline); !slept) return failure(std::move(slept));
    }
    return failure(ErrorKind::timed_out, "the test's own deadline");
  }
};

TEST_F(PendingAskTest, EachOfManyGetsItsOwnReply) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  std::vector<PendingAsk> asks;
  for (int i = 0; i < 50; ++i) asks.push_back(start(oracle, Double{i}).value());
  for (int i = 49; i >= 0; --i) EXPECT_EQ(wait(asks[static_cast<std::size_t>(i)]).value(), 2 * i);
  EXPECT_FALSE(asks.front().end()) << "an end is told once";
}

TEST_F(PendingAskTest, OneActorThatDoesNotAnswerHoldsUpNoOther) {
  const auto slow = node.spawn<Oracle>("slow").value();
  const auto fast = node.spawn<Oracle>("fast").value();
  auto held = start(slow, hold()).value();
  ASSERT_TRUE(inbox.next());
  for (int i = 0; i < 10; ++i) {
    auto ask = start(fast, Double{i}).value();
    EXPECT_EQ(wait(ask).value(), 2 * i);
  }
  EXPECT_FALSE(held.end());
  gate.open();
  EXPECT_EQ(wait(held).value(), -1);
}

TEST_F(PendingAskTest, AnAskOfTheSameProcessTakesNobodysReply) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  auto pending = start(oracle, Double{4}).value();
  EXPECT_EQ(oracle.ask(Double{5}, patience).value(), 10);  // behind the other: both replies are here now
  auto waiter = AskWaiter::create().value();
  EXPECT_TRUE(waiter.arm()) << "nobody will ring again for a reply that is here";
  EXPECT_EQ(decode<int>(pending.end().value().value().bytes).value(), 8);
}

TEST_F(PendingAskTest, IsToldThatItsReceiverHasEndedEvenWhenOthersHaveCalledItSince) {
  const auto oracle = node.spawn<Oracle>("oracle", {.restart = Restart::temporary}).value();
  auto pending = start(oracle, hold()).value();
  ASSERT_TRUE(inbox.next());
  node.signal("oracle", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "oracle", supervision::ChildState::stopped));
  EXPECT_EQ(oracle.send(Double{1}), Sent::closed);
  const auto end = wait(pending);
  EXPECT_EQ(end.error().kind, ErrorKind::down);
  EXPECT_NE(end.error().text.find("had begun"), std::string::npos);
}

TEST_F(PendingAskTest, ToNobodyIsDownAtOnce) {
  EXPECT_EQ(start(node.ref<Oracle>("nobody"), Double{1}).error().kind, ErrorKind::down);
}

TEST_F(PendingAskTest, DoesNotWaitForRoom) {
  const auto oracle = node.spawn<Oracle>("oracle", {.mailbox_bytes_max = 64 << 10U}).value();
  auto held = start(oracle, hold()).value();
  ASSERT_TRUE(inbox.next());
  std::vector<PendingAsk> asks;
  ErrorKind last{};
  for (int i = 0; i < 100'000; ++i) {
    auto ask = start(oracle, Double{i});
    if (!ask) {
      last = ask.error().kind;
      break;
    }
    asks.push_back(std::move(*ask));
  }
  EXPECT_EQ(last, ErrorKind::full);
  gate.open();
  EXPECT_EQ(wait(held).value(), -1);
}

TEST_F(PendingAskTest, AReplyToOneThatIsGoneMeetsNobody) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  start(oracle, Double{1}).value();
  for (int i = 2; i < 20; ++i) EXPECT_EQ(oracle.ask(Double{i}, patience).value(), 2 * i);
}

/// Two threads sleep on one bell, one of them in an ask: no wake-up is lost to the other.
TEST_F(PendingAskTest, AnotherThreadsAskAndThisOnesSleepWakeEachForItself) {
  const auto one = node.spawn<Oracle>("one").value();
  const auto two = node.spawn<Oracle>("two").value();
  std::thread asker{[&] {
    for (int i = 0; i < 2'000; ++i) ASSERT_EQ(one.ask(Double{i}, patience).value(), 2 * i);
  }};
  for (int i = 0; i < 2'000; ++i) {
    auto ask = start(two, Double{i});
    ASSERT_TRUE(ask) << ask.error();
    ASSERT_EQ(wait(*ask).value(), 2 * i);
  }
  asker.join();
}

TEST_F(PendingAskTest, TheWaiterAlsoWakesForWhatItWatches) {
  auto waiter = AskWaiter::create().value();
  const OwnedFd event{::eventfd(0, EFD_CLOEXEC)};
  waiter.watch(event.get()).value();
  const TimePoint begin = Clock::now();
  while (Clock::now() < begin + 20ms) waiter.sleep(begin + 20ms).value();
  ring(event.get());
  const TimePoint deadline = deadline_in(patience);
  waiter.sleep(deadline).value();
  EXPECT_LT(Clock::now(), deadline);
}

/// News comes also to a process that has no question open, and is taken.
TEST_F(PendingAskTest, TheWaiterSleepsThoughItsProcessHasNews) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  EXPECT_EQ(oracle.ask(Double{1}, patience).value(), 2);
  auto waiter = AskWaiter::create().value();
  node.stop_child("oracle").value();
  int looks = 0;
  while (waiter.arm() && looks < 1000) ++looks;
  EXPECT_LT(looks, 1000);
}

TEST_F(PendingAskTest, IsDownWhenTheKeeperIs) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  auto pending = start(oracle, hold()).value();
  ASSERT_TRUE(inbox.next());
  ::kill(test::keeper_pid(), SIGKILL);
  EXPECT_EQ(wait(pending).error().kind, ErrorKind::down);
}

}  // namespace
}  // namespace troupe
