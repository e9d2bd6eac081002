// SPDX-License-Identifier: MIT
// What becomes of a message: order, bounds, and the words for what was not sent.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <thread>
#include <troupe/troupe.hpp>

#include "leaves_nothing.hpp"
#include "node_watch.hpp"
#include "printing.hpp"
#include "transport/forked.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Gate;
using test::Inbox;
using test::patience;

class MessagingTest : public test::LeavesNothing {
 protected:
  Inbox inbox{};
  Gate gate{};
};

// ---- order ------------------------------------------------------------------------------------------

struct Item {
  int sender = 0;
  int number = 0;
};
struct Seen {
  using reply = std::vector<int>;
  int sender = 0;
};
struct Recorder {
  using accepts = messages<Item, Seen>;
  std::map<int, std::vector<int>> seen;
  void on(const Item& item) { seen[item.sender].push_back(item.number); }
  std::vector<int> on(const Seen& question) { return seen[question.sender]; }
};

std::vector<int> up_to(int end) {
  std::vector<int> all(static_cast<std::size_t>(end));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST_F(MessagingTest, MessagesOfOneSenderArriveInOrderAndAQuestionBehindThem) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(recorder.send(Item{0, i}), Sent::queued);
  EXPECT_EQ(recorder.ask(Seen{0}, patience).value(), up_to(2000));
}

struct Send {
  Ref<messages<Item>> to{};
  int sender = 0;
  int count = 0;
};
struct Done {
  using reply = bool;
};
struct Sender {
  using accepts = messages<Send, Done>;
  void on(const Send& order) {
    for (int i = 0; i < order.count; ++i) order.to.send(Item{order.sender, i}, {patience});
  }
  bool on(const Done&) { return true; }
};

TEST_F(MessagingTest, EverySendersOrderHoldsBesideTheOthers) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  std::vector<Ref<Sender>> senders;
  for (int i = 1; i <= 3; ++i) {
    senders.push_back(node.spawn<Sender>("sender" + std::to_string(i)).value());
    senders.back().send(Send{recorder, i, 500});
  }
  for (int i = 0; i < 500; ++i) recorder.send(Item{0, i});
  for (const auto& sender : senders) EXPECT_TRUE(sender.ask(Done{}, patience).value());
  for (int i = 0; i <= 3; ++i) EXPECT_EQ(recorder.ask(Seen{i}, patience).value(), up_to(500)) << i;
}

TEST_F(MessagingTest, ThreadsOfAProgramTakeTurns) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  std::vector<std::thread> threads;
  for (int sender = 0; sender < 4; ++sender)
    threads.emplace_back([&, sender] {
      for (int i = 0; i < 300; ++i) EXPECT_EQ(recorder.send(Item{sender, i}), Sent::queued);
      EXPECT_EQ(recorder.ask(Seen{sender}, patience).value(), up_to(300));
    });
  for (auto& thread : threads) thread.join();
}

// ---- bounds -----------------------------------------------------------------------------------------

struct Block {
  std::string inbox{};
  std::string gate{};
};
struct Bulk {
  std::vector<std::uint8_t> bytes{};
};
struct Size {
  using reply = std::uint64_t;
};
/// Sleeps at a gate while its mailbox fills.
struct Slow {
  using accepts = messages<Block, Bulk, Size>;
  std::uint64_t bytes = 0;
  void on(const Block& block) {
    test::say(block.inbox, "blocked");
    test::pass(block.gate);
  }
  void on(const Bulk& bulk) {
    for (std::size_t i = 0; i < bulk.bytes.size(); ++i)
      if (bulk.bytes[i] != static_cast<std::uint8_t>(i * 31U)) std::abort();
    bytes += bulk.bytes.size();
  }
  std::uint64_t on(const Size&) { return bytes; }
};

Bulk bulk(std::size_t bytes) {
  Bulk made{std::vector<std::uint8_t>(bytes)};
  for (std::size_t i = 0; i < bytes; ++i) made.bytes[i] = static_cast<std::uint8_t>(i * 31U);
  return made;
}

TEST_F(MessagingTest, AMailboxThatStaysFullIsSaidAtOnceWithoutPatienceAndLosesNothing) {
  Node node;
  const auto slow = node.spawn<Slow>("slow", {.mailbox_bytes_max = 64 << 10U}).value();
  ASSERT_EQ(slow.send(Block{inbox.path(), gate.path()}), Sent::queued);
  ASSERT_EQ(inbox.next(), "blocked");
  std::uint64_t sent = 0;
  while (slow.send(bulk(1000), {0ns}) == Sent::queued && sent < 1'000'000) sent += 1000;
  EXPECT_GT(sent, 1000U);
  EXPECT_LT(sent, 64U << 10U);
  const TimePoint begin = Clock::now();
  EXPECT_EQ(slow.send(bulk(1000), {50ms}), Sent::full);
  EXPECT_GE(Clock::now() - begin, 50ms);
  gate.open();
  EXPECT_EQ(slow.ask(Size{}, patience).value(), sent);
}

TEST_F(MessagingTest, ASendThatWaitsForRoomGoesOnWhenThereIsRoom) {
  Node node;
  const auto slow = node.spawn<Slow>("slow", {.mailbox_bytes_max = 64 << 10U}).value();
  slow.send(Block{inbox.path(), gate.path()});
  ASSERT_EQ(inbox.next(), "blocked");
  std::uint64_t sent = 0;
  while (slow.send(bulk(1000), {0ns}) == Sent::queued) sent += 1000;
  std::thread opener{[&] { gate.open(); }};
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(slow.send(bulk(1000), {patience}), Sent::queued);
    sent += 1000;
  }
  opener.join();
  EXPECT_EQ(slow.ask(Size{}, patience).value(), sent);
}

TEST_F(MessagingTest, LargeMessagesTravel) {
  Node node;
  const auto slow = node.spawn<Slow>("slow").value();
  std::uint64_t sent = 0;
  for (const std::size_t bytes :
       {std::size_t{100} << 10U, std::size_t{900} << 10U, std::size_t{10}, std::size_t{900} << 10U}) {
    ASSERT_EQ(slow.send(bulk(bytes)), Sent::queued) << bytes;
    sent += bytes;
  }
  EXPECT_EQ(slow.ask(Size{}, patience).value(), sent);
}

TEST_F(MessagingTest, AMessageThatIsTooLargeIsNotSentAndTheNextOneIs) {
  Node node;
  const auto slow = node.spawn<Slow>("slow", {.message_bytes_max = 2 << 20U}).value();
  EXPECT_EQ(slow.send(bulk(2 << 20U)), Sent::full);
  const auto small_box = node.spawn<Slow>("small", {.mailbox_bytes_max = 16 << 10U}).value();
  EXPECT_EQ(small_box.send(bulk(100 << 10U)), Sent::full);
  EXPECT_EQ(slow.send(bulk(10)), Sent::queued);
  EXPECT_EQ(small_box.send(bulk(10)), Sent::queued);
  EXPECT_EQ(slow.ask(Size{}, patience).value(), 10U);
  EXPECT_EQ(small_box.ask(Size{}, patience).value(), 10U);
}

TEST_F(MessagingTest, ALaneThatHasGrownKeepsTheOrder) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  // The small lane of the first contact is outgrown many times over while nobody waits.
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(recorder.send(Item{0, i}, {patience}), Sent::queued);
  EXPECT_EQ(recorder.ask(Seen{0}, patience).value(), up_to(20'000));
}

// ---- to whom ------------------------------------------------------------------------------------------

TEST_F(MessagingTest, AnEmptyRefAndAPathWithNobodyAreClosed) {
  Node node;
  EXPECT_EQ(Ref<Recorder>{}.send(Item{}), Sent::closed);
  EXPECT_EQ(node.ref<Recorder>("nobody").send(Item{}), Sent::closed);
}

TEST_F(MessagingTest, ARefMadeBeforeItsActorWorksOnceTheActorIsThere) {
  Node node;
  const auto early = node.ref<Recorder>("recorder");
  EXPECT_EQ(early.send(Item{0, 1}), Sent::closed);
  const auto recorder = node.spawn<Recorder>("recorder").value();
  EXPECT_EQ(early, recorder);
  EXPECT_EQ(early.send(Item{0, 2}), Sent::queued);
  EXPECT_EQ(recorder.ask(Seen{0}, patience).value(), std::vector{2});
}

TEST_F(MessagingTest, AnActorThatHasEndedIsClosed) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  EXPECT_EQ(recorder.send(Item{}), Sent::queued);
  node.stop_child("recorder").value();
  EXPECT_EQ(recorder.send(Item{}), Sent::closed);
}

struct Introduce {
  Ref<Recorder> other{};
  int number = 0;
};
struct Introduced {
  using reply = bool;
};
struct Friend {
  using accepts = messages<Introduce, Introduced>;
  Ref<Recorder> other;
  void on(const Introduce& message) {
    other = message.other;
    other.send(Item{1, message.number});
  }
  bool on(const Introduced&, Self& self) { return other == self.ref<Recorder>("recorder"); }
};

TEST_F(MessagingTest, ARefTravelsInsideAMessage) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  const auto one = node.spawn<Friend>("friend").value();
  one.send(Introduce{recorder, 17});
  EXPECT_TRUE(one.ask(Introduced{}, patience).value());
  EXPECT_EQ(recorder.ask(Seen{1}, patience).value(), std::vector{17});
}

struct Unheard {
  using reply = int;
};
struct Whisper {};

TEST_F(MessagingTest, AMessageOfAnotherProtocolIsSetAsideAndItsAskerIsRefused) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  const auto wrong = node.ref<messages<Unheard, Whisper>>("recorder");  // the name says nothing of the type
  EXPECT_EQ(wrong.ask(Unheard{}, patience).error().kind, ErrorKind::refused);
  EXPECT_EQ(wrong.send(Whisper{}), Sent::queued);
  recorder.send(Item{0, 5});
  EXPECT_EQ(recorder.ask(Seen{0}, patience).value(), std::vector{5});
  const auto aside = node.quarantine().value();
  ASSERT_EQ(aside.size(), 2U);
  for (const Quarantined& one : aside) {
    EXPECT_EQ(one.cause, ErrorKind::refused);
    EXPECT_EQ(one.role, "recorder");
  }
  EXPECT_EQ(aside[1].type, type_id<Whisper>);
}

TEST_F(MessagingTest, ThePlainForkOfAProgramMaySendNothing) {
  Node node;
  const auto recorder = node.spawn<Recorder>("recorder").value();
  recorder.send(Item{0, 1});
  test::Forked child{[&] {
    if (recorder.send(Item{0, 2}, {0ns}) == Sent::queued) return 1;
    const auto asked = recorder.ask(Seen{0}, 1s);
    return !asked && asked.error().kind == ErrorKind::refused ? 0 : 2;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  recorder.send(Item{0, 3});
  EXPECT_EQ(recorder.ask(Seen{0}, patience).value(), (std::vector{1, 3}));
}

TEST_F(MessagingTest, ANodeMayEndWhileMailFlows) {
  for (int round = 0; round < 5; ++round) {
    Ref<Recorder> recorder;
    {
      Node node;
      recorder = node.spawn<Recorder>("recorder").value();
      for (int i = 0; i < 3; ++i)
        node.spawn<Sender>("sender" + std::to_string(i), {.stop_within = 50ms})
            .value()
            .send(Send{recorder, i, 1'000'000});
      for (int i = 0; i < 1000; ++i) recorder.send(Item{9, i});
    }
    EXPECT_EQ(recorder.send(Item{}), Sent::closed);
  }
}

}  // namespace
}  // namespace troupe
