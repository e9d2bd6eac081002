// SPDX-License-Identifier: MIT
// What is so of a queue over ZeroMQ alone; the rest is queue_conformance_test.cpp's.
#include <troupe/zmq/queue.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/whereabouts.hpp>
#include <troupe/zmq/wire.hpp>

#include "breaking_relay.hpp"
#include "listening_child.hpp"
#include "raw_dealer.hpp"
#include "transport/conformance.hpp"
#include "transport/forked.hpp"
#include "transport/gate.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::Gate;
using test::kind_of;

constexpr Duration patience = 60s;

class ZmqQueue : public test::NothingLeft {
 protected:
  template <class T = int>
  Queue<T> make(const QueueOptions& options = {}, const Security& security = {}) {
    auto access = QueueServer::create(security.own.secret_key.empty() ? "ipc://*" : "tcp://127.0.0.1:*",
                                      options, security)
                      .value();
    endpoint = endpoint_of(*access);
    return Queue<T>::over(std::move(access));
  }
  template <class T = int>
  static Queue<T> found(const std::string& at) {
    return Queue<T>::over(connect_queue(at, {}, patience).value());
  }
  /// An end that is sent there, as pass() would write it.
  static troupe::detail::QueuePass pass_through(const std::string& at, troupe::detail::QueueAccess::End end) {
    const bool sends = end == troupe::detail::QueueAccess::End::sender;
    const auto role = sends ? wire::QueueRole::sender : wire::QueueRole::receiver;
    return {detail::encoded(detail::PassedEnd{.magic = wire::queue_magic,
                                              .version = wire::version,
                                              .end = static_cast<std::uint8_t>(role),
                                              .endpoint = at}),
            {}};
  }
  std::string endpoint;
};

TEST_F(ZmqQueue, AReceiverThatLeavesGivesBackAndWhatItNeverSawCountsAsNoAttempt) {
  auto queue = make();
  auto out = queue.sender();
  {
    auto in = queue.receiver();
    const Waitable ready = in.readable();
    EXPECT_EQ(kind_of(select({ready}, 0ns)), "timed_out");
    out.put(1).value();
    ASSERT_TRUE(select({ready}, patience)) << "it has been handed the item by now";
  }
  auto item = queue.receiver().get(patience).value();
  EXPECT_EQ(item.attempt(), 1U);
  EXPECT_EQ(queue.counts().given_back, 0U);
}

/// A child that has taken these many items and acknowledged all but the last one, which it holds: until it
/// is killed, or told to leave, with whatever lies ahead of it.
class Holding {
 public:
  Holding(const std::string& endpoint, int takes, const Gate& may_leave)
      : child_{[&] {
          auto in = Queue<int>::over(connect_queue(endpoint, {}, patience).value()).receiver();
          for (int i = 1; i < takes; ++i) in.get(patience).value().acknowledge();
          auto held = in.get(patience).value();
          holds_.open();
          return may_leave.wait() ? 0 : 1;
        }} {
    EXPECT_TRUE(holds_.wait());
  }
  void kill() { child_.kill(); }
  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  [[nodiscard]] std::optional<int> exit_code() { return child_.exit_code(deadline_in(patience)); }

 private:
  Gate holds_;
  Forked child_;
};

/// What a receiver gets: each value with its attempt.
std::map<int, std::uint32_t> attempts_of(Receiver<int>& in, int items) {
  std::map<int, std::uint32_t> attempts;
  for (int i = 0; i < items; ++i) {
    auto item = in.get(patience).value();
    EXPECT_EQ(attempts.count(*item), 0U) << *item;
    attempts[*item] = item.attempt();
    item.acknowledge();
  }
  return attempts;
}

TEST_F(ZmqQueue, WhatLayAheadOfAKilledReceiverGoesToAnotherWithItsAttempts) {
  constexpr int items = 100;
  constexpr int taken = 20;  // by then the window is as large as it gets
  auto queue = make({.attempts_max = 2});
  auto out = queue.sender();
  for (int i = 1; i <= items; ++i) out.put(i).value();
  const Gate never_opened;
  Holding dead{endpoint, taken, never_opened};
  dead.kill();
  auto in = queue.receiver();
  const int rest = items - taken + 1;
  const auto attempts = attempts_of(in, static_cast<int>(queue.size()));
  ASSERT_GE(attempts.size(), static_cast<std::size_t>(rest));
  EXPECT_EQ(attempts.at(taken), 2U) << "it had this one in hand";
  const auto doubtful = static_cast<int>(wire::doubtful_max(QueueOptions{}.ahead_items_max));
  for (const auto& [value, attempt] : attempts) {
    EXPECT_LE(attempt, 2U) << value;
    if (value > taken + doubtful) {
      EXPECT_EQ(attempt, 1U) << value << " it had surely not begun";
    }
  }
  ASSERT_TRUE(queue.drain(patience));
  EXPECT_EQ(queue.counts().quarantined, 0U) << "doubt alone brings nothing there";
  EXPECT_EQ(queue.counts().acknowledged, static_cast<std::uint64_t>(items));
}

TEST_F(ZmqQueue, OnlyTheItemThatKillsEndsInTheQuarantineNotThoseThatLayBehindIt) {
  constexpr int items = 60;
  constexpr int poison = 30;
  auto queue = make({.attempts_max = 2});
  std::array<Gate, 4> turns;
  std::vector<Forked> children;  // all made while this process is idle: a sanitizer's heap is not for forks
  for (const auto& turn : turns)
    children.emplace_back([&] {
      if (!turn.wait()) return 1;
      auto in = found(endpoint).receiver();
      for (;;) {
        auto item = in.get(2s);
        if (!item) return 0;
        if (**item == poison) ::kill(::getpid(), SIGKILL);
        item->acknowledge();
      }
    });
  auto out = queue.sender();
  for (int i = 1; i <= items; ++i) out.put(i).value();
  int deaths = 0;
  for (std::size_t i = 0; i < turns.size() && deaths == static_cast<int>(i); ++i) {
    turns.at(i).open();
    const auto status = children[i].wait(deadline_in(patience));
    ASSERT_TRUE(status);
    deaths += WIFSIGNALED(*status) ? 1 : 0;
  }
  const auto quarantine = queue.quarantine();
  ASSERT_EQ(quarantine.size(), 1U);
  EXPECT_EQ(decode<int>(quarantine.front().bytes).value(), poison);
  EXPECT_EQ(queue.counts().acknowledged, static_cast<std::uint64_t>(items - 1));
  EXPECT_GE(deaths, 2);
  EXPECT_LE(deaths, 3) << "attempts_max, and one in doubt";
}

TEST_F(ZmqQueue, AReceiverThatTakesNothingMoreLeavesWhatLiesAheadOfItToOthers) {
  constexpr int items = 200;
  constexpr int taken = 20;
  auto queue = make();
  auto out = queue.sender();
  for (int i = 1; i <= items; ++i) out.put(i).value();
  const Gate may_leave;
  Holding slow{endpoint, taken, may_leave};
  auto in = queue.receiver();
  const auto attempts = attempts_of(in, items - taken);
  for (int value = taken + 1; value <= items; ++value) EXPECT_EQ(attempts.at(value), 1U) << value;
  EXPECT_EQ(kind_of(in.get_nowait()), "timed_out") << "by which its last word has come, too";
  ASSERT_EQ(queue.holders().size(), 1U);
  EXPECT_EQ(queue.holders().front().process.pid, slow.pid());
  EXPECT_EQ(queue.holders().front().items, 1U);
  may_leave.open();
  EXPECT_EQ(slow.exit_code(), 0);
  auto last = in.get(patience).value();
  EXPECT_EQ(*last, taken);
  EXPECT_EQ(last.attempt(), 2U) << "it was given back";
}

TEST_F(ZmqQueue, NoMoreLiesAheadOfAReceiverThanItsBoundsAllow) {
  struct Bound {
    std::size_t items_max;
    std::size_t bytes_max;
    std::size_t expected;
  };
  for (const auto& bound : {Bound{0, 1U << 20U, 0}, Bound{5, 1U << 20U, 5}, Bound{64, 2500, 2}}) {
    auto queue = make<Bytes>({.ahead_items_max = bound.items_max, .ahead_bytes_max = bound.bytes_max});
    auto out = queue.sender();
    for (int i = 0; i < 100; ++i) out.put(Bytes(990)).value();  // 1000 with their size
    auto in = queue.receiver();
    std::vector<Item<Bytes>> held;
    std::size_t most_ahead = 0;
    for (std::size_t taken = 1; taken <= 50; ++taken) {
      held.push_back(in.get(patience).value());
      const auto holders = queue.holders();
      ASSERT_EQ(holders.size(), 1U);
      ASSERT_LE(holders.front().items, taken + bound.expected);
      most_ahead = std::max(most_ahead, holders.front().items - taken);
    }
    EXPECT_EQ(most_ahead > 0, bound.expected > 0) << bound.items_max;
  }
  EXPECT_FALSE(QueueServer::create("ipc://*", {.ahead_items_max = wire::ahead_items_max + 1}));
}

TEST_F(ZmqQueue, AReceiverThatLeavesGivesBackWhatLiesAheadOfItInOrder) {
  constexpr int items = 100;
  constexpr int taken = 20;
  auto queue = make();
  auto out = queue.sender();
  for (int i = 1; i <= items; ++i) out.put(i).value();
  {
    auto in = queue.receiver();
    for (int i = 1; i <= taken; ++i) {
      auto item = in.get(patience).value();
      EXPECT_EQ(*item, i);
      item.acknowledge();
    }
  }
  auto in = queue.receiver();
  for (int i = taken + 1; i <= items; ++i) {
    auto item = in.get(patience).value();
    EXPECT_EQ(*item, i);
    EXPECT_EQ(item.attempt(), 1U);
    item.acknowledge();
  }
  ASSERT_TRUE(queue.drain(patience));
  EXPECT_EQ(queue.counts(), (QueueCounts{.put = items, .acknowledged = items}));
}

TEST_F(ZmqQueue, PutsThatAreNotConfirmedOneByOneAreAllThereAfterAFlush) {
  constexpr int items = 500;
  auto queue = make({.items_max = items, .unconfirmed_puts_max = 100});
  Forked child{[&] {
    auto out = found(endpoint).sender();
    for (int i = 0; i < items; ++i)
      if (!out.put(i, patience)) return 1;
    if (!out.flush(patience)) return 2;
    ::kill(::getpid(), SIGKILL);  // at once
    return 3;
  }};
  const auto status = child.wait(deadline_in(patience));
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFSIGNALED(*status)) << WEXITSTATUS(*status);
  EXPECT_EQ(queue.counts().put, static_cast<std::uint64_t>(items));
  auto in = queue.receiver();
  for (int i = 0; i < items; ++i) {
    auto item = in.get(patience).value();
    EXPECT_EQ(*item, i);
    item.acknowledge();
  }
}

TEST_F(ZmqQueue, ASenderThatLeavesHasItsUnconfirmedPutsPut) {
  auto queue = make({.unconfirmed_puts_max = 1000});
  {
    auto out = queue.sender();
    for (int i = 0; i < 100; ++i) out.put(i).value();
  }
  EXPECT_EQ(queue.counts().put, 100U);
}

/// Of each sender the items are counted from 0, without a gap.
void expect_all_in_order(Receiver<std::uint64_t>& in, std::uint64_t senders, std::uint64_t items) {
  std::map<std::uint64_t, std::uint64_t> next;
  for (std::uint64_t i = 0; i < senders * items; ++i) {
    auto item = in.get(patience).value();
    EXPECT_EQ(*item & 0xFFFF'FFFFU, next[*item >> 32U]++);
    item.acknowledge();
  }
}

TEST_F(ZmqQueue, SixteenSendersThatPutAndLeaveAtOnceLoseNothing) {
  constexpr int rounds = 4;
  constexpr std::uint64_t senders = 16;
  constexpr std::uint64_t items = 400;
  auto queue = make<std::uint64_t>({.items_max = items, .unconfirmed_puts_max = 2 * items});
  auto in = queue.receiver();
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    std::vector<Forked> children;
    for (std::uint64_t id = 0; id < senders; ++id)
      children.emplace_back([this, id] {
        auto out = found<std::uint64_t>(endpoint).sender();
        for (std::uint64_t i = 0; i < items; ++i)
          if (!out.put(id << 32U | i, patience)) return 1;
        return 0;  // its end leaves, and no other destructor runs
      });
    for (auto& child : children) EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
    ASSERT_EQ(queue.counts().put, round * senders * items);
    expect_all_in_order(in, senders, items);
  }
}

TEST_F(ZmqQueue, ASenderOnItsWayHoldsTheStreamOpen) {
  auto access = QueueServer::create("ipc://*").value();
  const auto pass = access->pass(troupe::detail::QueueAccess::End::sender).value();
  ASSERT_TRUE(is_passed_end(pass));
  access->close();
  EXPECT_EQ(kind_of(access->pass(troupe::detail::QueueAccess::End::sender)), "closed");
  Receiver<int> in{access->receiver().value()};
  EXPECT_EQ(kind_of(in.get(30ms)), "timed_out");
  Forked child{[&] {
    Sender<int> out{arrive_sender(pass).value()};
    return out.put(5, patience) ? 0 : 1;
  }};
  auto item = in.get(patience).value();
  EXPECT_EQ(*item, 5);
  item.acknowledge();
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
  EXPECT_EQ(kind_of(arrive_sender(pass)), "refused") << "it has arrived once";
  EXPECT_EQ(kind_of(arrive_receiver(pass)), "malformed");
}

TEST_F(ZmqQueue, ASenderOnItsWayIsGivenUpWithWhoeverAnsweredForIt) {
  auto queue = make();
  Forked child{[&] {
    auto access = connect_queue(endpoint, {}, patience).value();
    if (!access->pass(troupe::detail::QueueAccess::End::sender)) return 1;
    ::kill(::getpid(), SIGKILL);
    return 2;
  }};
  ASSERT_TRUE(child.wait(deadline_in(patience)));
  queue.close();
  EXPECT_EQ(kind_of(queue.receiver().get(patience)), "closed");
}

TEST_F(ZmqQueue, SaysDownWhenItsOwnerHasDied) {
  test::ListeningChild owner{[&](const auto& tell) {
    const auto queue = make();
    tell(endpoint);
    return test::wait_to_be_killed();
  }};
  auto queue = found(owner.endpoint);
  auto sender = queue.sender();
  auto receiver = queue.receiver();
  sender.put(1).value();
  owner.child.kill();
  EXPECT_EQ(kind_of(receiver.get(patience)), "down");
  EXPECT_EQ(kind_of(sender.put(2, patience)), "down");
}

TEST_F(ZmqQueue, SaysClosedWhenItsOwnerLetsGoOfIt) {
  std::optional<Queue<int>> queue{make()};
  auto in = queue->receiver();
  auto out = queue->sender();
  queue.reset();
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
  EXPECT_EQ(kind_of(out.put(1, patience)), "closed");
}

TEST_F(ZmqQueue, AnOwnerThatLetsGoWaitsForNoEndThatHasBeenKilled) {
  std::optional<Queue<int>> queue{make()};
  const Gate there;
  Forked child{[&] {
    auto far = found(endpoint);
    auto in = far.receiver();
    there.open();
    return in.get(patience) ? 1 : 0;
  }};
  ASSERT_TRUE(there.wait());
  child.kill();
  queue.reset();
}

TEST_F(ZmqQueue, WithKeysLetsInWhomItAllowsAndWhomItPassedAnEnd) {
  const auto server = Keys::generate().value();
  const auto client = Keys::generate().value();
  auto access =
      QueueServer::create("tcp://127.0.0.1:*", {}, {.own = server, .allowed = {client.public_key}}).value();
  const auto at = endpoint_of(*access);
  const auto pass = access->pass(troupe::detail::QueueAccess::End::sender).value();
  Forked child{[&] {
    Sender<int> out{arrive_sender(pass).value()};
    return out.put(5, patience) ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  Receiver<int> in{access->receiver().value()};
  EXPECT_EQ(*in.get(patience).value(), 5);
  EXPECT_EQ(kind_of(connect_queue(at, {.own = client, .server_key = server.public_key}, patience)), "done");
  const auto stranger = Keys::generate().value();
  EXPECT_EQ(kind_of(connect_queue(at, {.own = stranger, .server_key = server.public_key}, patience)),
            "refused");
  EXPECT_EQ(kind_of(connect_queue(at, {}, 300ms)), "timed_out");
}

TEST_F(ZmqQueue, PutsAndTakesOnceOverBrokenConnections) {
  auto access = QueueServer::create("tcp://127.0.0.1:*", {.items_max = 64}).value();
  test::BreakingRelay to_sender{endpoint_of(*access), 3, 5};
  test::BreakingRelay to_receiver{endpoint_of(*access), 4, 5};
  auto owner = Queue<Bytes>::over(std::move(access));
  constexpr std::size_t items = 1500;
  // Each relay serves one connection at a time, so the way in is taken by the end itself.
  Sender<Bytes> out{
      arrive_sender(pass_through(to_sender.endpoint(), troupe::detail::QueueAccess::End::sender)).value()};
  Receiver<Bytes> in{
      arrive_receiver(pass_through(to_receiver.endpoint(), troupe::detail::QueueAccess::End::receiver))
          .value()};
  std::thread sends{[&] {
    for (std::size_t i = 0; i < items; ++i) EXPECT_TRUE(out.put(test::pattern(i, 1000), patience));
  }};
  for (std::size_t i = 0; i < items; ++i) {
    auto item = in.get(patience).value();
    ASSERT_EQ(*item, test::pattern(i, 1000));
    ASSERT_EQ(item.attempt(), 1U);
    item.acknowledge();
  }
  sends.join();
  ASSERT_TRUE(owner.drain(patience));
  EXPECT_EQ(owner.counts(), (QueueCounts{.put = items, .acknowledged = items}));
  EXPECT_EQ(to_sender.breaks_left() + to_receiver.breaks_left(), 0);
}

// What the owner says to an end that is not one of ours.
constexpr std::string_view welcome{"TZQ1\1\3"};
constexpr std::string_view answer{"TZQ1\1\x20"};
constexpr std::string_view done{"TZQ1\1\x21"};

void say(const test::RawDealer& raw, const wire::QueueHeader& header, std::span<const std::byte> body = {}) {
  raw.say(wire::bytes_of(header), body);
}

wire::QueueHello raw_sender(std::uint8_t known = 0) {
  const auto mark = own_mark().value();
  return {detail::this_machine(), mark.started, mark.pid, wire::QueueRole::sender, known, 0, 0};
}

TEST_F(ZmqQueue, APutThatIsToldAgainOverANewConnectionIsDoneOnce) {
  using wire::QueueKind;
  auto access = QueueServer::create("tcp://127.0.0.1:*").value();
  const auto put = [](const test::RawDealer& raw, std::uint64_t number) {
    say(raw, {.kind = QueueKind::put, .session = 5, .number = number}, wire::bytes_of(number));
  };
  {
    test::RawDealer first{endpoint_of(*access)};
    say(first, {.kind = QueueKind::hello, .session = 5}, wire::bytes_of(raw_sender()));
    ASSERT_TRUE(first.hears(welcome));
    put(first, 1);
    put(first, 2);
    ASSERT_TRUE(first.hears(done));
  }
  test::RawDealer again{endpoint_of(*access)};
  say(again, {.kind = QueueKind::hello, .session = 5}, wire::bytes_of(raw_sender(1)));
  ASSERT_TRUE(again.hears(welcome));
  for (std::uint64_t number = 1; number <= 3; ++number) put(again, number);
  say(again, {.kind = QueueKind::leave, .session = 5, .number = 4});
  ASSERT_TRUE(again.hears(answer)) << "so all before it has been looked at";
  EXPECT_EQ(access->counts().put, 3U);
}

TEST_F(ZmqQueue, WhoeverBreaksTheRulesIsLetGoAndHarmsNobody) {
  auto access = QueueServer::create("tcp://127.0.0.1:*", {.items_max = 4, .bytes_max = 1000}).value();
  const std::string at = endpoint_of(*access);
  auto queue = Queue<int>::over(std::move(access));
  auto out = queue.sender();
  auto in = queue.receiver();
  using wire::QueueKind;
  const wire::QueueHeader broken[] = {
      {.kind = QueueKind::put, .session = 5, .number = 0},
      {.kind = QueueKind::settle, .session = 5, .number = 1, .a = 1, .b = 9},
      {.kind = QueueKind::want, .session = 5, .number = 1},
      {.kind = QueueKind::answer, .session = 5, .number = 1},
      {.kind = static_cast<QueueKind>(99), .session = 5, .number = 1},
      {.version = 9, .kind = QueueKind::put, .session = 5, .number = 1},
      {.kind = QueueKind::put, .session = 6, .number = 1},  // another's
  };
  for (const auto& header : broken) {
    test::RawDealer raw{at};
    say(raw, {.kind = QueueKind::hello, .session = 5}, wire::bytes_of(raw_sender()));
    ASSERT_TRUE(raw.hears(welcome));
    say(raw, header);
    EXPECT_TRUE(raw.hears("not of this format"));
  }
  {
    test::RawDealer greedy{at};
    say(greedy, {.kind = QueueKind::hello, .session = 7}, wire::bytes_of(raw_sender()));
    for (std::uint64_t i = 1; i <= 5; ++i)
      say(greedy, {.kind = QueueKind::put, .session = 7, .number = i}, wire::bytes_of(i));
    EXPECT_TRUE(greedy.hears("not of this format")) << "one more than its bounds allow";
  }
  out.put(42).value();
  auto whole = in.get(patience).value();
  EXPECT_EQ(*whole, 42);
  whole.acknowledge();
  // What it put within its bounds is in the queue like anybody's, and decodes or does not.
  ASSERT_TRUE(queue.drain(patience));
  EXPECT_EQ(queue.counts().put, 5U);
  EXPECT_EQ(queue.quarantine().size(), 4U);
}

}  // namespace
}  // namespace troupe::zmq
