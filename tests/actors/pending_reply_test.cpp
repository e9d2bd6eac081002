// SPDX-License-Identifier: MIT
// A question under way, and a descriptor to wait for its end.
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>
#include <troupe/transport/select.hpp>
#include <vector>

#include "actor_test.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::patience;

struct Double {
  using reply = int;
  int number = 0;
};
struct Fail {
  using reply = int;
};
struct Hold {
  using reply = int;
  std::string inbox{};
  std::string gate{};
};
struct Oracle {
  using accepts = messages<Double, Fail, Hold>;
  int on(const Double& question) { return question.number * 2; }
  Result<int> on(const Fail&) { return failure(ErrorKind::refused, "not today"); }
  int on(const Hold& question) {
    test::say(question.inbox, std::to_string(::getpid()));
    test::pass(question.gate);
    return -1;
  }
};

class PendingReplyTest : public test::ActorTest {
 protected:
  Hold hold() { return {inbox.path(), gate.path()}; }
  Ref<Oracle> oracle(const char* name = "oracle") { return node.spawn<Oracle>(name).value(); }

  /// As an event loop does: the descriptor, and nothing else.
  template <class R>
  static Result<R> when_readable(PendingReply<R>& pending) {
    const Waitable ready = pending.readable();
    for (int looks = 0; looks < 1000; ++looks) {
      if (auto end = pending.result()) return std::move(*end);
      if (auto waited = select({ready}, patience); !waited) return failure(std::move(waited));
    }
    return failure(ErrorKind::system, "it is ready and says nothing, again and again");
  }
};

TEST_F(PendingReplyTest, BringsTheReplyToWhoWaitsForIt) {
  EXPECT_EQ(oracle().start_ask(Double{21}, patience).value().get().value(), 42);
}

TEST_F(PendingReplyTest, BringsTheErrorThatTheHandlerReturned) {
  const auto error = oracle().start_ask(Fail{}, patience).value().get().error();
  EXPECT_EQ(error.kind, ErrorKind::refused);
  EXPECT_NE(error.text.find("not today"), std::string::npos) << error;
}

TEST_F(PendingReplyTest, IsReadableOnceTheReplyHasCome) {
  auto pending = oracle().start_ask(Double{4}, patience).value();
  EXPECT_EQ(when_readable(pending).value(), 8);
  EXPECT_FALSE(pending.result()) << "told once";
  EXPECT_EQ(pending.get().error().kind, ErrorKind::invalid);
}

TEST_F(PendingReplyTest, IsNotReadableBeforeThat) {
  auto pending = oracle().start_ask(hold(), patience).value();
  ASSERT_TRUE(inbox.next());
  int looks = 0;
  Result<std::vector<std::size_t>> ready{};
  const TimePoint until = deadline_in(20ms);
  do ready = select({pending.readable()}, std::max(until - Clock::now(), Duration::zero()));
  while (ready && !pending.result() && ++looks < 1000);
  ASSERT_FALSE(ready) << "ready for nothing, again and again";
  EXPECT_EQ(ready.error().kind, ErrorKind::timed_out);
  gate.open();
  EXPECT_EQ(when_readable(pending).value(), -1);
}

TEST_F(PendingReplyTest, IsReadableAtItsDeadline) {
  auto pending = oracle().start_ask(hold(), 50ms).value();
  ASSERT_TRUE(inbox.next());
  EXPECT_EQ(when_readable(pending).error().kind, ErrorKind::timed_out);
  gate.open();
}

TEST_F(PendingReplyTest, IsReadableWhenTheActorHasEnded) {
  auto pending = oracle().start_ask(hold(), patience).value();
  ASSERT_TRUE(inbox.next());
  std::thread stopper{[&] { node.stop_child("oracle").value(); }};
  gate.open();
  const auto end = when_readable(pending);
  stopper.join();
  EXPECT_TRUE(end ? *end == -1 : end.error().kind == ErrorKind::down) << "replied first, or ended";
}

TEST_F(PendingReplyTest, IsDownWhenTheKeeperIs) {
  auto pending = oracle().start_ask(hold(), patience).value();
  ASSERT_TRUE(inbox.next());
  ::kill(test::keeper_pid(), SIGKILL);
  EXPECT_EQ(when_readable(pending).error().kind, ErrorKind::down);
}

TEST_F(PendingReplyTest, OfManyEachGetsItsOwnThoughOneActorDoesNotAnswer) {
  const auto slow = oracle("slow");
  const auto quick = oracle("quick");
  auto held = slow.start_ask(hold(), patience).value();
  ASSERT_TRUE(inbox.next());
  std::vector<PendingReply<int>> asked;
  for (int i = 0; i < 50; ++i) asked.push_back(quick.start_ask(Double{i}, patience).value());
  for (int i = 0; i < 50; ++i) ASSERT_EQ(when_readable(asked[static_cast<std::size_t>(i)]).value(), 2 * i);
  gate.open();
  EXPECT_EQ(when_readable(held).value(), -1);
}

TEST_F(PendingReplyTest, DroppedWhileItIsArmedSpoilsNoLaterOne) {
  const auto one = oracle();
  {
    auto dropped = one.start_ask(hold(), patience).value();
    ASSERT_TRUE(inbox.next());
    const Waitable ready = dropped.readable();
    for (int looks = 0; looks < 1000 && ready.arm(); ++looks) {}
  }
  gate.open();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(one.ask(Double{i}, patience).value(), 2 * i);
}

TEST_F(PendingReplyTest, ToNobodyIsDownAtOnce) {
  EXPECT_EQ(Ref<Oracle>{}.start_ask(Double{1}, patience).error().kind, ErrorKind::down);
}

}  // namespace
}  // namespace troupe
