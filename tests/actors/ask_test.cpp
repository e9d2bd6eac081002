// SPDX-License-Identifier: MIT
// An ask always ends: with the value, or with what became of it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "actor_test.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Gate;
using test::Inbox;
using test::patience;

struct Double {
  using reply = int;
  int number = 0;
};
struct Refuse {
  using reply = int;
};
struct Hold {
  using reply = int;
  std::string inbox{};
  std::string gate{};
};
struct Huge {
  using reply = std::vector<std::uint8_t>;
  std::uint64_t bytes = 0;
};
struct Whoami {
  using reply = std::pair<std::uint32_t, std::uint32_t>;  // incarnation, attempt
  std::string inbox{};
  std::string gate{};
};
struct Relay {
  using reply = int;
  int number = 0;
};

struct Oracle {
  using accepts = messages<Double, Refuse, Hold, Huge, Whoami, Relay>;
  int on(const Double& question) { return question.number * 2; }
  Result<int> on(const Refuse&) { return failure(ErrorKind::invalid, "not today"); }
  int on(const Hold& question) {
    test::say(question.inbox, std::to_string(::getpid()));
    test::pass(question.gate);
    return -1;
  }
  std::vector<std::uint8_t> on(const Huge& question) { return std::vector<std::uint8_t>(question.bytes, 7); }
  std::pair<std::uint32_t, std::uint32_t> on(const Whoami& question, Self& self) {
    test::say(question.inbox, std::to_string(::getpid()));
    if (self.attempt() == 1) test::pass(question.gate);
    return {self.incarnation(), self.attempt()};
  }
  Result<int> on(const Relay& question, Self& self) {
    return self.ref<Oracle>("oracle").ask(Double{question.number}, 5s);
  }
};

class AskTest : public test::ActorTest {};

TEST_F(AskTest, BringsTheValue) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(oracle.ask(Double{i}, patience).value(), 2 * i);
}

TEST_F(AskTest, BringsTheErrorThatTheHandlerReturned) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  const auto answer = oracle.ask(Refuse{}, patience);
  EXPECT_EQ(answer.error().kind, ErrorKind::invalid);
  EXPECT_EQ(answer.error().text, "not today");
}

TEST_F(AskTest, BringsLargeReplies) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  for (const std::uint64_t bytes : {std::uint64_t{100'000}, std::uint64_t{900'000}, std::uint64_t{0}})
    EXPECT_EQ(oracle.ask(Huge{bytes}, patience).value(), std::vector<std::uint8_t>(bytes, 7));
}

TEST_F(AskTest, AReplyThatIsTooLargeToTravelEndsTheAskWithAnError) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  const auto answer = oracle.ask(Huge{70'000'000}, patience);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().kind, ErrorKind::timed_out)
      << "the asker should be told, and not wait for nothing";
  EXPECT_EQ(oracle.ask(Double{4}, patience).value(), 8);
}

TEST_F(AskTest, WorksFromInsideAHandler) {
  node.spawn<Oracle>("oracle").value();
  const auto relay = node.spawn<Oracle>("relay").value();
  EXPECT_EQ(relay.ask(Relay{21}, patience).value(), 42);
}

TEST_F(AskTest, AnActorThatAsksItselfIsToldAtItsDeadline) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  EXPECT_EQ(oracle.ask(Relay{1}, 100ms).error().kind, ErrorKind::timed_out);
}

TEST_F(AskTest, EndsAtItsDeadlineAndTheLateReplyMeetsNobody) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  const TimePoint begin = Clock::now();
  EXPECT_EQ(oracle.ask(Hold{inbox.path(), gate.path()}, 50ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - begin, 50ms);
  gate.open();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(oracle.ask(Double{i}, patience).value(), 2 * i);  // never -1
}

TEST_F(AskTest, AQuestionWhoseDeadlineHasPassedIsNotHandled) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  EXPECT_FALSE(oracle.ask(Hold{inbox.path(), gate.path()}, 20ms));
  EXPECT_FALSE(oracle.ask(Hold{inbox.path(), gate.path()}, 20ms));  // waits behind the first
  gate.open();
  EXPECT_EQ(oracle.ask(Double{2}, patience).value(), 4);
  EXPECT_TRUE(inbox.next(0ns));
  EXPECT_FALSE(inbox.next(0ns)) << "the second was handled though nobody waited for it";
}

TEST_F(AskTest, WithoutPatienceItEndsAtOnce) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  EXPECT_FALSE(oracle.ask(Hold{inbox.path(), gate.path()}, 0ns));
  EXPECT_FALSE(oracle.ask(Hold{inbox.path(), gate.path()}, -1s));
  gate.open(2);
  EXPECT_EQ(oracle.ask(Double{2}, patience).value(), 4);
}

TEST_F(AskTest, NobodyThereIsDown) {
  EXPECT_EQ(node.ref<Oracle>("nobody").ask(Double{1}, patience).error().kind, ErrorKind::down);
  EXPECT_FALSE(Ref<Oracle>{}.ask(Double{1}, patience));
}

TEST_F(AskTest, WaitsOverTheRestartOfItsReceiver) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  std::thread killer{[&] { test::Watched{inbox.next_number()}.signal(SIGKILL); }};
  const auto [incarnation, attempt] = oracle.ask(Whoami{inbox.path(), gate.path()}, patience).value();
  killer.join();
  EXPECT_EQ(incarnation, 2U);
  EXPECT_EQ(attempt, 2U);
}

TEST_F(AskTest, AReceiverThatDiesForGoodOverItSaysThatItsHandlerHadBegun) {
  const auto oracle = node.spawn<Oracle>("oracle", {.restart = Restart::temporary}).value();
  std::thread killer{[&] { test::Watched{inbox.next_number()}.signal(SIGKILL); }};
  const auto answer = oracle.ask(Hold{inbox.path(), gate.path()}, patience);
  killer.join();
  EXPECT_EQ(answer.error().kind, ErrorKind::down);
  EXPECT_NE(answer.error().text.find("had begun"), std::string::npos) << answer.error().text;
  EXPECT_EQ(answer.error().text.find("not begun"), std::string::npos) << answer.error().text;
}

TEST_F(AskTest, AReceiverThatDiesForGoodBeforeItSaysThatItsHandlerHadNotBegun) {
  const auto oracle = node.spawn<Oracle>("oracle", {.restart = Restart::temporary}).value();
  EXPECT_FALSE(oracle.ask(Hold{inbox.path(), gate.path()}, 20ms));  // it sits in this handler
  const test::Watched process{inbox.next_number()};
  std::thread killer{[&] { process.signal(SIGKILL); }};
  const auto answer = oracle.ask(Double{1}, patience);
  killer.join();
  EXPECT_EQ(answer.error().kind, ErrorKind::down);
  EXPECT_EQ(answer.error().text.find("had begun"), std::string::npos) << answer.error().text;
}

TEST_F(AskTest, AReceiverThatIsStoppedMeanwhileIsDown) {
  const auto oracle = node.spawn<Oracle>("oracle", {.stop_within = 0ns}).value();
  std::thread stopper{[&] {
    [[maybe_unused]] const int pid = inbox.next_number();
    EXPECT_TRUE(node.stop_child("oracle"));
  }};
  EXPECT_EQ(oracle.ask(Hold{inbox.path(), gate.path()}, patience).error().kind, ErrorKind::down);
  stopper.join();
}

TEST_F(AskTest, TheDeathOfTheKeeperEndsIt) {
  const auto oracle = node.spawn<Oracle>("oracle").value();
  const test::Watched keeper{test::keeper_pid()};
  const test::Watched process{test::child(node, "oracle")->pid};
  std::thread killer{[&] {
    [[maybe_unused]] const int pid = inbox.next_number();
    keeper.signal(SIGKILL);
  }};
  EXPECT_EQ(oracle.ask(Hold{inbox.path(), gate.path()}, patience).error().kind, ErrorKind::down);
  killer.join();
  // A lane that is there already takes what it has room for: that is lost with the keeper, as `queued` says.
  Sent sent = Sent::queued;
  for (int i = 0; i < 100'000 && sent == Sent::queued; ++i) sent = oracle.send(Double{i});
  EXPECT_EQ(sent, Sent::closed);
  EXPECT_FALSE(node.children());
  EXPECT_EQ(node.wait(), 1);
  EXPECT_TRUE(process.gone());
}

// ---- answers that come later ------------------------------------------------------------------------

struct Later {
  using reply = int;
  int number = 0;
};
enum class Settle { newest, by_dropping, by_failing, by_forgetting_who };

/// Owes its answers until it is told to settle.
struct Debtor {
  using accepts = messages<Later, Settle>;
  std::string inbox;
  std::vector<std::pair<int, Reply<int>>> owed{};

  void on(const Later& question, Reply<int> reply) {
    owed.emplace_back(question.number, std::move(reply));
    test::say(inbox, "owed");
  }
  void on(const Settle& how) {
    auto [number, reply] = std::move(owed.back());
    owed.pop_back();
    if (how == Settle::newest) std::move(reply).send(number * 10);
    if (how == Settle::by_failing) std::move(reply).fail(ErrorKind::invalid, "broke");
    if (how == Settle::by_forgetting_who) {
      Reply<int> other = std::move(reply);  // the one that was moved from owes nothing
      std::move(other).send(-1);
    }
  }
};

struct Go {
  std::string inbox{};
  int number = 0;
};
/// Asks the debtor, and says what it heard.
struct Creditor {
  using accepts = messages<Go>;
  void on(const Go& go, Self& self) {
    const auto answer = self.ref<Debtor>("debtor").ask(Later{go.number}, patience);
    test::say(go.inbox, answer ? std::to_string(*answer) : std::string{to_string(answer.error().kind)});
  }
};

class OwedReplyTest : public AskTest {
 protected:
  /// The debtor owes an answer to this number when it returns.
  void ask(int number) {
    const auto creditor = node.spawn<Creditor>("creditor/" + std::to_string(number)).value();
    creditor.send(Go{inbox.path(), number});
    ASSERT_EQ(inbox.next(), "owed");
  }
  Ref<Debtor> debtor = node.spawn<Debtor>("debtor", ChildOptions{}, inbox.path()).value();
};

TEST_F(OwedReplyTest, IsSentInAnyOrder) {
  for (const int number : {1, 2, 3}) ask(number);
  for (const char* const answer : {"30", "20", "10"}) {
    debtor.send(Settle::newest);
    EXPECT_EQ(inbox.next(), answer);
  }
}

TEST_F(OwedReplyTest, ThatIsDroppedEndsTheAskAtOnce) {
  ask(1);
  debtor.send(Settle::by_dropping);
  EXPECT_EQ(inbox.next(), "no_reply");
}

TEST_F(OwedReplyTest, MayBeAnError) {
  ask(1);
  debtor.send(Settle::by_failing);
  EXPECT_EQ(inbox.next(), "invalid");
}

TEST_F(OwedReplyTest, MovesWithItsDebt) {
  ask(1);
  debtor.send(Settle::by_forgetting_who);
  EXPECT_EQ(inbox.next(), "-1");
}

}  // namespace
}  // namespace troupe
