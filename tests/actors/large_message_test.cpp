// SPDX-License-Identifier: MIT
// Messages and replies that are too large for a frame: they travel as blobs by themselves.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <numeric>
#include <troupe/transport/blob.hpp>

#include "actor_test.hpp"
#include "deposits.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using supervision::ChildState;
using test::at_once;
using test::deposits;
using test::none_left;
using test::patience;

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t mebibyte = std::size_t{1} << 20U;

/// Differs from place to place and from seed to seed.
Bytes pattern(std::size_t bytes, std::uint8_t seed = 0) {
  Bytes all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::uint8_t>(seed + i + i / 251);
  return all;
}

struct Mirror {
  using reply = Bytes;
  Bytes bytes{};
  std::string gate{};
};
struct Letter {  // said to the inbox with its attempt, after which the first of them die
  Bytes bytes{};
  std::uint8_t seed = 0;
  std::string inbox{};
  std::uint32_t deaths = 0;
};
struct Album {
  using reply = std::uint64_t;
  Blob front{};
  Bytes bytes{};
  Blob back{};
};
struct Count {
  using reply = std::uint32_t;
};
struct Grow {  // small, and its reply is not
  using reply = Bytes;
  std::uint64_t bytes = 0;
};
struct Pass {
  std::uint64_t bytes = 0;
  std::string inbox{};
};

struct Reader {
  using accepts = messages<Mirror, Letter, Album, Count, Grow>;
  std::uint32_t letters = 0;
  Bytes on(const Mirror& m) {
    if (!m.gate.empty()) test::pass(m.gate);
    return m.bytes;
  }
  void on(const Letter& m, Self& self) {
    ++letters;
    const bool whole = m.bytes == pattern(m.bytes.size(), m.seed);
    test::say(m.inbox, std::to_string(self.attempt()) + (whole ? ":whole:" : ":torn:") +
                           std::to_string(m.bytes.size()));
    if (self.attempt() <= m.deaths) ::raise(SIGKILL);
  }
  std::uint64_t on(const Album& m) { return m.front.size() + m.bytes.size() + m.back.size(); }
  std::uint32_t on(const Count&) { return letters; }
  Bytes on(const Grow& m) { return pattern(m.bytes); }
};

struct Relay {
  using accepts = messages<Pass>;
  Ref<Reader> to{};
  void on(const Pass& m) {
    to.send(Letter{pattern(m.bytes), 0, m.inbox});
    test::say(m.inbox, "sent");
  }
};

struct Scribe {  // keeps state, so what it sends is written down first
  using accepts = messages<Pass, Grow>;
  int kept = 0;
  Ref<Reader> to{};
  void on(const Pass& m) { to.send(Letter{pattern(m.bytes), 0, m.inbox}); }
  Bytes on(const Grow& m) { return pattern(m.bytes); }
};

class LargeMessageTest : public test::ActorTest {
 protected:
  Ref<Reader> reader(ChildOptions options = {}) {
    options.restarts_max = unlimited;
    options.backoff = at_once;
    return node.spawn<Reader>("reader", options).value();
  }
  /// Said once everything before it was handled.
  static void settle(const Ref<Reader>& to) { ASSERT_TRUE(to.ask(Count{}, patience)); }
};

TEST_F(LargeMessageTest, QuestionAndReplyTravelWhateverTheirSize) {
  const auto to = reader();
  for (const std::size_t bytes : {mebibyte - 1, mebibyte, mebibyte + 1, 16 * mebibyte, std::size_t{5}}) {
    const Bytes sent = pattern(bytes);
    ASSERT_EQ(to.ask(Mirror{sent, ""}, patience).value(), sent) << bytes;
  }
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, ComeInOrderWithSmallOnes) {
  const auto to = reader();
  for (std::uint8_t i = 0; i < 6; ++i)
    ASSERT_EQ(to.send(Letter{pattern((i % 2) * 2 * mebibyte + i, i), i, inbox.path()}), Sent::queued);
  for (std::size_t i = 0; i < 6; ++i)
    ASSERT_EQ(inbox.next(), "1:whole:" + std::to_string((i % 2) * 2 * mebibyte + i));
  settle(to);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, MayHoldBlobs) {
  const auto to = reader();
  const auto small = Blob::create(10, [](auto) {}).value();
  const auto large = Blob::create(3 * mebibyte, [](auto) {}).value();
  EXPECT_EQ(to.ask(Album{small, Bytes(2 * mebibyte), large}, patience).value(), 10 + 5 * mebibyte);
  settle(to);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, IsThereAgainForTheNextIncarnationAndThenFreed) {
  const auto to = reader();
  ASSERT_EQ(to.send(Letter{pattern(2 * mebibyte, 7), 7, inbox.path(), 2}), Sent::queued);
  for (const char* attempt : {"1", "2", "3"})
    EXPECT_EQ(inbox.next(), attempt + (":whole:" + std::to_string(2 * mebibyte)));
  settle(to);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, OutlivesItsSender) {
  const auto to = reader();
  const auto relay = node.spawn<Relay>("relay", {.restart = Restart::temporary}, to).value();
  settle(to);
  node.signal("reader", SIGSTOP).value();
  relay.send(Pass{2 * mebibyte, inbox.path()});
  EXPECT_EQ(inbox.next(), "sent");
  node.signal("relay", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "relay", ChildState::stopped));
  node.signal("reader", SIGCONT).value();
  EXPECT_EQ(inbox.next(), "1:whole:" + std::to_string(2 * mebibyte));
  settle(to);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, IsFreedWhenItsReceiverEndsForGood) {
  const auto to = reader();
  settle(to);
  node.signal("reader", SIGSTOP).value();
  ASSERT_EQ(to.send(Letter{pattern(2 * mebibyte), 0, inbox.path()}), Sent::queued);
  EXPECT_EQ(deposits(), 1U);
  node.stop_child("reader").value();
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, GoesToTheQuarantineWhole) {
  const auto to = reader({.attempts_max = 1});
  const Letter letter{pattern(2 * mebibyte, 3), 3, inbox.path(), 9};
  ASSERT_EQ(to.send(letter), Sent::queued);
  settle(to);
  const auto aside = node.quarantine().value();
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(aside[0].cause, ErrorKind::poison);
  EXPECT_EQ(decode<Letter>(aside[0].payload).value().bytes, letter.bytes);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, OfALateReplyIsFreed) {
  const auto to = reader();
  EXPECT_EQ(to.ask(Mirror{pattern(2 * mebibyte), gate.path()}, 200ms).error().kind, ErrorKind::timed_out);
  gate.open();
  EXPECT_EQ(to.ask(Grow{3}, patience).value(), pattern(3));  // behind the late one, which meets nobody
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, IsRefusedBeyondTheLimitWithTheWayOut) {
  const auto to = reader({.message_bytes_max = 4 * mebibyte});
  const auto answer = to.ask(Mirror{Bytes(4 * mebibyte), ""}, patience);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::invalid);
  EXPECT_NE(answer.error().text.find("Blob"), std::string::npos) << answer.error();
  EXPECT_EQ(to.send(Letter{Bytes(4 * mebibyte), 0, inbox.path()}), Sent::full);
  EXPECT_EQ(to.ask(Mirror{Bytes(4 * mebibyte - 100), ""}, patience).value().size(), 4 * mebibyte - 100);
}

TEST_F(LargeMessageTest, AReplyBeyondTheAskersLimitIsAnError) {
  const auto to = reader();
  const auto answer = to.ask(Grow{65 * mebibyte}, patience);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::invalid) << answer.error();
  EXPECT_EQ(to.ask(Grow{2 * mebibyte}, patience).value(), pattern(2 * mebibyte));
}

TEST_F(LargeMessageTest, TakesRoomInTheMailbox) {
  const auto to = reader({.mailbox_bytes_max = 4 * mebibyte});
  settle(to);
  node.signal("reader", SIGSTOP).value();
  const Letter letter{pattern(3 * mebibyte), 0, inbox.path()};
  EXPECT_EQ(to.send(letter), Sent::queued);
  EXPECT_EQ(to.send(letter), Sent::queued);  // one more while there is any room
  EXPECT_EQ(to.send(letter, {.within = 30ms}), Sent::full);
  EXPECT_EQ(deposits(), 2U);
  node.signal("reader", SIGCONT).value();
  EXPECT_EQ(to.send(letter, {.within = patience}), Sent::queued);
  EXPECT_EQ(to.ask(Count{}, patience).value(), 3U);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, OfAnActorThatKeepsStateArrivesOnceHoweverOftenItIsKilled) {
  const auto to = reader();
  const auto scribe =
      node.spawn<Scribe>("scribe", {.restarts_max = unlimited, .attempts_max = unlimited, .backoff = at_once},
                         0, to)
          .value();
  for (std::uint32_t round = 1; round <= 5; ++round) {
    ASSERT_EQ(scribe.send(Pass{2 * mebibyte + round, inbox.path()}), Sent::queued);
    ASSERT_TRUE(node.signal("scribe", SIGKILL)) << round;
    ASSERT_EQ(inbox.next(), "1:whole:" + std::to_string(2 * mebibyte + round));
    ASSERT_TRUE(test::reaches(node, "scribe", ChildState::running, round + 1)) << round;
  }
  EXPECT_EQ(scribe.ask(Grow{2 * mebibyte}, patience).value(), pattern(2 * mebibyte));
  EXPECT_EQ(scribe.ask(Grow{65 * mebibyte}, patience).error().kind, ErrorKind::invalid);
  EXPECT_EQ(to.ask(Count{}, patience).value(), 5U);
  EXPECT_TRUE(none_left());
}

TEST_F(LargeMessageTest, NothingStaysHoweverOftenSenderAndReceiverAreKilled) {
  const auto to = reader({.attempts_max = unlimited});
  const auto relay =
      node.spawn<Relay>("relay", {.restarts_max = unlimited, .attempts_max = unlimited, .backoff = at_once},
                        to)
          .value();
  for (std::uint32_t round = 0; round < 20; ++round) {
    const std::string_view victim = round % 2 == 0 ? "relay" : "reader";
    const auto before = test::child(node, victim)->incarnation;
    ASSERT_EQ(relay.send(Pass{2 * mebibyte, "/dev/null"}), Sent::queued) << round;
    ASSERT_TRUE(node.signal(victim, SIGKILL)) << round;
    ASSERT_EQ(to.ask(Mirror{pattern(mebibyte + round), ""}, patience).value(), pattern(mebibyte + round));
    ASSERT_TRUE(test::reaches(node, victim, ChildState::running, before + 1)) << round;
  }
  node.stop_child("relay").value();
  settle(to);
  node.stop_child("reader").value();  // and with it what the relay's lanes still hold
  EXPECT_TRUE(none_left());
}

// ---- what a stranger could send -------------------------------------------------------------------------

/// Says "I am apart", and then something else.
struct Forged {
  OwnedFd file{};
  std::uint64_t bytes = 0;

  template <class Archive>
  void save(Archive& archive) const {
    archive(bytes);
    if (file) archive.deposit(file.get());
  }
  template <class Archive>
  void load(Archive& /*archive*/) {}
};

OwnedFd memory(std::size_t bytes) { return create_memory("troupe-test", bytes).value(); }

class ForgedLargeMessageTest : public LargeMessageTest {
 protected:
  void expect_set_aside(const Forged& forged, ErrorKind cause = ErrorKind::malformed) {
    const auto to = reader({.message_bytes_max = 4 * mebibyte});
    auto* const endpoint = detail::Endpoint::of_process().value();
    const FrameInfo info{type_id<Letter>, envelope::sequence(envelope::Kind::mail, 0) | envelope::apart};
    ASSERT_TRUE(endpoint->post({to.role()}, info, {}, detail::Payload::of(forged), patience));
    settle(to);
    const auto aside = node.quarantine().value();
    ASSERT_EQ(aside.size(), 1U);
    EXPECT_EQ(aside[0].cause, cause) << aside[0].text;
    EXPECT_TRUE(none_left());
    const auto child = test::child(node, "reader");
    EXPECT_EQ(child->incarnation, 1U);
  }
};

TEST_F(ForgedLargeMessageTest, WithoutADescriptorIsSetAside) { expect_set_aside({{}, 2 * mebibyte}); }

TEST_F(ForgedLargeMessageTest, InAFileThatIsNotSealedIsSetAside) {
  expect_set_aside({memory(2 * mebibyte), 2 * mebibyte});
}

TEST_F(ForgedLargeMessageTest, OfAnotherSizeThanItsFileIsSetAside) {
  auto file = memory(2 * mebibyte);
  seal_for_good(file.get()).value();
  expect_set_aside({std::move(file), 3 * mebibyte});
}

TEST_F(ForgedLargeMessageTest, LargerThanTheLimitIsSetAside) {
  auto file = memory(5 * mebibyte);
  seal_for_good(file.get()).value();
  expect_set_aside({std::move(file), 5 * mebibyte});
}

TEST_F(ForgedLargeMessageTest, OfBytesThatAreNoMessageIsSetAside) {
  auto file = memory(2 * mebibyte);
  seal_for_good(file.get()).value();
  expect_set_aside({std::move(file), 2 * mebibyte});
}

TEST_F(ForgedLargeMessageTest, OfNoBytesIsSetAside) { expect_set_aside({{}, 0}); }

}  // namespace
}  // namespace troupe
