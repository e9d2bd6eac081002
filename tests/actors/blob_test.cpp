// SPDX-License-Identifier: MIT
// Messages, replies and arguments that hold descriptors: what arrives, and that nothing stays behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/frozen.hpp>

#include "actor_test.hpp"
#include "deposits.hpp"
#include "transport/blobs.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using supervision::ChildState;
using test::at_once;
using test::deposits;
using test::none_left;
using test::ones;
using test::patience;
using test::sum_of;
using test::used;

struct Sum {
  using reply = std::uint64_t;
  Blob blob{};
};
struct Keep {  // one way; said to the inbox with its attempt, after which the first of them die
  Blob blob{};
  std::string inbox{};
  std::uint32_t deaths = 0;
  std::string padding{};
};
struct Make {
  using reply = Blob;
  std::uint64_t bytes = 0;
  std::string gate{};
};
struct Write {
  Descriptor end{};
  std::string text{};
};
struct Pass {
  Blob blob{};
  std::string inbox{};
  std::uint32_t deaths = 0;
};
struct Flood {};

struct Reader {
  using accepts = messages<Sum, Keep, Make, Write>;
  std::uint64_t on(const Sum& m) { return sum_of(m.blob); }
  void on(const Keep& m, Self& self) {
    test::say(m.inbox, std::to_string(self.attempt()) + ":" + std::to_string(sum_of(m.blob)));
    if (self.attempt() <= m.deaths) ::raise(SIGKILL);
  }
  Blob on(const Make& m) {
    if (!m.gate.empty()) test::pass(m.gate);
    return ones(m.bytes);
  }
  void on(const Write& m) {
    if (::write(m.end.fd.get(), m.text.data(), m.text.size()) == -1) std::abort();
  }
};

struct Relay {
  using accepts = messages<Pass, Flood>;
  Ref<Reader> to{};
  Blob own{};
  void on(const Pass& m) {
    to.send(Keep{m.blob, m.inbox});
    test::say(m.inbox, "sent");
  }
  void on(const Flood&) {
    for (;;) to.send(Keep{ones(4096), "/dev/null"});
  }
};

struct Bookkeeper {
  using accepts = messages<Pass, Make>;
  int kept = 0;
  Ref<Reader> to{};
  void on(const Pass& m, Self& self) {
    ++kept;
    const std::string inbox = m.inbox.substr(0, m.inbox.find('\0'));
    test::say(inbox, to.send(Keep{m.blob, inbox, 0, m.inbox}) == Sent::queued ? "queued" : "not");
    if (self.attempt() <= m.deaths) ::raise(SIGKILL);
  }
  Blob on(const Make& m) { return ones(m.bytes); }
};

struct Table {
  using accepts = messages<Sum>;
  Frozen<std::vector<std::uint32_t>> table{};
  std::uint64_t on(const Sum&) { return table.get()[99]; }
};

class BlobMessageTest : public test::ActorTest {
 protected:
  Ref<Reader> reader(std::uint32_t attempts_max = 3) {
    return node
        .spawn<Reader>("reader",
                       {.restarts_max = unlimited, .attempts_max = attempts_max, .backoff = at_once})
        .value();
  }
};

TEST_F(BlobMessageTest, ArrivesInAQuestionAndIsReadInPlace) {
  constexpr std::size_t bytes = std::size_t{64} << 20U;
  const auto to = reader();
  EXPECT_EQ(to.ask(Sum{ones(bytes)}, patience).value(), bytes);
  EXPECT_EQ(to.ask(Sum{}, patience).value(), 0U);
}

TEST_F(BlobMessageTest, ComesBackInAReply) {
  const Blob blob = reader().ask(Make{3 << 20U, ""}, patience).value();
  EXPECT_EQ(sum_of(blob), 3U << 20U);
}

TEST_F(BlobMessageTest, IsFreedWhenItsMessageWasAcknowledged) {
  const auto to = reader();
  const auto memory = used(ones(4096), [&](const Blob& blob) { to.send(Keep{blob, inbox.path()}); });
  EXPECT_EQ(inbox.next(), "1:4096");
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, IsThereAgainForTheNextIncarnation) {
  const auto to = reader();
  const auto memory = used(ones(4096), [&](const Blob& blob) { to.send(Keep{blob, inbox.path(), 2}); });
  EXPECT_EQ(inbox.next(), "1:4096");
  EXPECT_EQ(inbox.next(), "2:4096");
  EXPECT_EQ(inbox.next(), "3:4096");
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, IsFreedWhenItsMessageGoesToTheQuarantine) {
  const auto to = reader(1);
  const auto memory = used(ones(4096), [&](const Blob& blob) { to.send(Keep{blob, inbox.path(), 9}); });
  EXPECT_EQ(inbox.next(), "1:4096");
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_EQ(node.quarantine().value().size(), 1U);
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, IsFreedWhenItsReceiverEndsForGood) {
  const auto to = reader();
  to.ask(Sum{}, patience).value();
  node.signal("reader", SIGSTOP).value();
  const auto memory = used(ones(4096), [&](const Blob& blob) { to.send(Keep{blob, inbox.path()}); });
  EXPECT_EQ(deposits(), 1U);
  EXPECT_FALSE(memory.freed(Clock::now()));
  node.stop_child("reader").value();
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, OutlivesItsSender) {
  const auto to = reader();
  const auto relay = node.spawn<Relay>("relay", {.restart = Restart::temporary}, to).value();
  to.ask(Sum{}, patience).value();
  node.signal("reader", SIGSTOP).value();
  const auto memory = used(ones(4096), [&](const Blob& blob) { relay.send(Pass{blob, inbox.path()}); });
  EXPECT_EQ(inbox.next(), "sent");
  node.stop_child("relay").value();
  EXPECT_FALSE(memory.freed(Clock::now()));
  node.signal("reader", SIGCONT).value();
  EXPECT_EQ(inbox.next(), "1:4096");
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
}

TEST_F(BlobMessageTest, OfALateReplyIsFreed) {
  const auto to = reader();
  EXPECT_EQ(to.ask(Make{4096, gate.path()}, 20ms).error().kind, ErrorKind::timed_out);
  gate.open();
  EXPECT_EQ(sum_of(to.ask(Make{1, ""}, patience).value()), 1U);  // behind the late one, which meets nobody
  EXPECT_EQ(to.ask(Sum{}, patience).value(), 0U);
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, NothingStaysHoweverOftenSenderAndReceiverAreKilled) {
  const auto to = reader(unlimited);
  const auto relay =
      node.spawn<Relay>("relay", {.restarts_max = unlimited, .attempts_max = unlimited, .backoff = at_once},
                        to)
          .value();
  relay.send(Flood{});
  for (std::uint32_t round = 0; round < 20; ++round) {
    const std::string_view victim = round % 2 == 0 ? "relay" : "reader";
    const auto before = test::child(node, victim)->incarnation;
    ASSERT_EQ(to.ask(Sum{ones(16)}, patience).value(), 16U) << round;
    ASSERT_TRUE(node.signal(victim, SIGKILL)) << round;
    ASSERT_TRUE(test::reaches(node, victim, ChildState::running, before + 1)) << round;
  }
  node.stop_child("relay").value();
  EXPECT_EQ(to.ask(Sum{ones(16)}, patience).value(), 16U);
  node.stop_child("reader").value();
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, AnyDescriptorMayGoInOne) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd read_end{ends[0]};
  reader().send(Write{{OwnedFd{ends[1]}}, "hello"});
  std::string text(5, ' ');
  ASSERT_EQ(::read(read_end.get(), text.data(), text.size()), 5);
  EXPECT_EQ(text, "hello");
  EXPECT_EQ(::read(read_end.get(), text.data(), 1), 0);  // and nobody holds the other end any more
}

TEST_F(BlobMessageTest, WithoutAReaderTheyAreBoundedForEachSender) {
  const auto to = reader();
  to.ask(Sum{}, patience).value();
  node.signal("reader", SIGSTOP).value();
  const Blob blob = ones(1);
  int queued = 0;
  while (queued < 1000 && to.send(Keep{blob, inbox.path()}, {.within = 1ms}) == Sent::queued) ++queued;
  EXPECT_EQ(queued, 256);
  EXPECT_EQ(deposits(), 256U);
  node.signal("reader", SIGCONT).value();
  for (int i = 0; i < queued; ++i) ASSERT_EQ(inbox.next(), "1:1");
  EXPECT_EQ(to.ask(Sum{blob}, patience).value(), 1U);
}

TEST_F(BlobMessageTest, ASenderThatIsFarAheadWaitsForItsReader) {
  const auto to = reader();
  const Blob blob = ones(1);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(to.send(Keep{blob, "/dev/null"}, {.within = patience}), Sent::queued) << i;
  EXPECT_EQ(to.ask(Sum{blob}, patience).value(), 1U);
}

TEST_F(BlobMessageTest, AnActorsArgumentIsThereInEveryIncarnation) {
  std::vector<std::uint32_t> numbers(100);
  numbers[99] = 7;
  const auto to = node.spawn<Table>("table", {.restarts_max = unlimited, .backoff = at_once},
                                    Frozen<std::vector<std::uint32_t>>::create(numbers).value())
                      .value();
  for (std::uint32_t i = 1; i < 4; ++i) {
    EXPECT_EQ(to.ask(Sum{}, patience).value(), 7U);
    node.signal("table", SIGKILL).value();
    ASSERT_TRUE(test::reaches(node, "table", ChildState::running, i + 1));
  }
}

TEST_F(BlobMessageTest, AnActorThatKeepsStateSendsThemAndAnswersWithThem) {
  const auto to = reader();
  const auto keeper = node.spawn<Bookkeeper>("keeper", {}, 0, to).value();
  keeper.send(Pass{ones(16), inbox.path()});
  EXPECT_EQ(inbox.next(), "queued");
  EXPECT_EQ(inbox.next(), "1:16");
  EXPECT_EQ(sum_of(keeper.ask(Make{17, ""}, patience).value()), 17U);
  EXPECT_EQ(keeper.ask(Make{3 << 20U, ""}, patience).value().size(), 3U << 20U);
  EXPECT_EQ(keeper.ask(Make{}, patience).value().size(), 0U);  // behind all that the last one had to say
  to.ask(Sum{}, patience).value();
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, WhatAHandlerSentThatDiedBeforeItsCommitIsFreed) {
  const auto to = reader();
  const auto keeper = node.spawn<Bookkeeper>(
      "keeper", {.restarts_max = unlimited, .attempts_max = 5, .backoff = at_once}, 0, to);
  const auto memory = used(ones(4096), [&](const Blob& blob) { keeper->send(Pass{blob, inbox.path(), 2}); });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(inbox.next(), "queued");
  EXPECT_EQ(inbox.next(), "1:4096");  // once
  EXPECT_EQ(keeper->ask(Make{}, patience).value().size(), 0U);
  to.ask(Sum{}, patience).value();
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, OfAnActorThatKeepsStateArriveOnceHoweverOftenItIsKilled) {
  const auto to = reader();
  const auto keeper =
      node.spawn<Bookkeeper>(
              "keeper", {.restarts_max = unlimited, .attempts_max = unlimited, .backoff = at_once}, 0, to)
          .value();
  for (std::uint32_t round = 1; round <= 20; ++round) {
    keeper.send(Pass{ones(round), inbox.path()});
    ASSERT_TRUE(node.signal("keeper", SIGKILL)) << round;
    auto said = inbox.next();
    while (said == "queued") said = inbox.next();
    ASSERT_EQ(said, "1:" + std::to_string(round));
    ASSERT_TRUE(test::reaches(node, "keeper", ChildState::running, round + 1)) << round;
  }
  EXPECT_EQ(keeper.ask(Make{}, patience).value().size(), 0U);
  node.stop_child("keeper").value();
  to.ask(Sum{}, patience).value();
  EXPECT_TRUE(none_left());
}

TEST_F(BlobMessageTest, LettersThatWaitForRoomHoldThemUntilTheyHaveLeft) {
  const auto to = node.spawn<Reader>("reader", {.mailbox_bytes_max = 32 << 10U}).value();
  const auto keeper =
      node.spawn<Bookkeeper>(
              "keeper", {.restarts_max = unlimited, .state_bytes_max = 1 << 20U, .backoff = at_once}, 0, to)
          .value();
  to.ask(Sum{}, patience).value();
  node.signal("reader", SIGSTOP).value();
  constexpr int letters = 200;  // more than the mailbox takes
  for (int i = 0; i < letters; ++i) {
    keeper.send(Pass{ones(1), inbox.path() + std::string(150, '\0')}, {patience});
    ASSERT_EQ(inbox.next(), "queued");
  }
  node.signal("keeper", SIGKILL).value();  // with most of them in its outbox
  ASSERT_TRUE(test::reaches(node, "keeper", ChildState::running, 2));
  EXPECT_GE(deposits(), static_cast<std::uint64_t>(letters));
  node.signal("reader", SIGCONT).value();
  for (int i = 0; i < letters;) {
    const auto said = inbox.next();
    if (said == "queued") continue;  // its last handler may have died before its commit
    ASSERT_EQ(said, "1:1") << i;
    ++i;
  }
  EXPECT_EQ(keeper.ask(Make{}, patience).value().size(), 0U);
  to.ask(Sum{}, patience).value();
  EXPECT_TRUE(none_left());
}

}  // namespace
}  // namespace troupe
