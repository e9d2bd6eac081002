// SPDX-License-Identifier: MIT
#pragma once
// The end of the stream, and ends on their way.

#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <thread>
#include <troupe/transport/socket_channel.hpp>

#include "transport/queue_cases/fixture.hpp"

namespace troupe::test {

TEST_P(QueueConformance, EndsAnIterationWhenItIsClosedAndEmpty) {
  auto queue = make();
  auto in = queue.receiver();
  {
    auto out = queue.sender();
    for (int i = 0; i < 10; ++i) out.put(i).value();
  }
  queue.close();
  int next = 0;
  for (auto& item : in) {
    EXPECT_EQ(*item, next++);
    item.acknowledge();
  }
  EXPECT_EQ(next, 10);
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
}

TEST_P(QueueConformance, IsHeldOpenByASender) {
  auto queue = make();
  auto in = queue.receiver();
  auto out = std::make_unique<Sender<int>>(queue.sender());
  queue.close();
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out");
  out->put(1).value();
  in.get(patience).value().acknowledge();
  std::thread late{[&] { out.reset(); }};
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
  late.join();
}

TEST_P(QueueConformance, TakesNoNewSenderOnceItIsClosed) {
  auto queue = make();
  queue.close();
  EXPECT_EQ(kind_of(queue.try_sender()), "closed");
  EXPECT_EQ(kind_of(found().try_sender()), "closed");
}

TEST_P(QueueConformance, TellsAReceiverThatComesTooLateThatItIsOver) {
  auto queue = make();
  queue.sender().put(1).value();
  queue.close();
  queue.receiver().get(patience).value().acknowledge();
  auto late = queue.receiver();
  EXPECT_EQ(kind_of(late.get(patience)), "closed");
  for ([[maybe_unused]] auto& item : late) FAIL() << "there is nothing";
}

TEST_P(QueueConformance, DoesNotEndWhileSomebodyMayGiveAnItemBack) {
  auto queue = make();
  auto one = queue.receiver();
  auto other = queue.receiver();
  queue.sender().put(1).value();
  queue.close();
  auto held = one.get(patience).value();
  EXPECT_EQ(kind_of(one.get(patience)), "closed") << "only itself could give it back";
  EXPECT_EQ(kind_of(other.get(10ms)), "timed_out");
  std::thread late{[&] { held.give_back(); }};
  auto again = other.get(patience).value();
  EXPECT_EQ(again.attempt(), 2U);
  again.acknowledge();
  EXPECT_EQ(kind_of(other.get(patience)), "closed");
  late.join();
}

TEST_P(QueueConformance, IsReadableAtItsEnd) {
  auto queue = make();
  auto in = queue.receiver();
  std::thread late{[&] { queue.close(); }};
  EXPECT_TRUE(select({in.readable()}, patience).has_value());
  late.join();
  EXPECT_EQ(kind_of(in.get_nowait()), "closed");
  EXPECT_TRUE(select({in.readable()}, patience).has_value()) << "and goes on being so";
}

TEST_P(QueueConformance, SaysThatItHasEndedToWhoeverDoesNotWait) {
  auto queue = make();
  auto in = queue.receiver();
  queue.close();
  EXPECT_EQ(kind_of(in.get_nowait()), "closed");
  EXPECT_EQ(kind_of(in.get_nowait()), "closed");
}

TEST_P(QueueConformance, GivesWhatWasGivenBackAfterItHadSaidThatItHasEnded) {
  auto queue = make();
  auto in = queue.receiver();
  queue.sender().put(1).value();
  queue.close();
  auto held = in.get(patience).value();
  EXPECT_EQ(kind_of(in.get(patience)), "closed") << "only itself could give it back";
  held.give_back();
  auto again = in.get(patience).value();
  EXPECT_EQ(again.attempt(), 2U);
  again.acknowledge();
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
}

TEST_P(QueueConformance, EndsWhenItsOwnerDies) {
  const Gate leave;
  const auto [here, there] = SocketChannel::create_pair().value();
  Forked owner{[&, &to = there] {
    auto queue = make();
    queue.sender().put(1).value();
    std::vector<int> numbers;
    for (const OwnedFd& fd : way().descriptors) numbers.push_back(fd.get());
    const std::string text = way().text + '\0';
    to.send(std::as_bytes(std::span{text}), numbers, soon()).value();
    if (!leave.wait()) return 1;
    ::_exit(0);  // without closing anything
  }};
  std::array<char, 200> text{};
  auto packet = here.receive(std::as_writable_bytes(std::span{text}), soon()).value();
  auto queue = found(QueueKind::Way{text.data(), std::move(packet.descriptors)});
  auto in = queue.receiver();
  in.get(patience).value().acknowledge();
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out") << "the owner may still put";
  leave.open();
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
  EXPECT_EQ(owner.exit_code(soon()), 0);
}

TEST_P(QueueConformance, IsHeldOpenByASenderOnItsWay) {
  auto access = GetParam().create({}).value();
  Receiver<int> in{access->receiver().value()};
  auto pass = access->pass(detail::QueueAccess::End::sender).value();
  access->close();
  EXPECT_EQ(kind_of(access->pass(detail::QueueAccess::End::sender)), "closed");
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out");
  Sender<int> out{detail::arrived_sender(std::move(pass)).value()};
  out.put(1).value();
  in.get(patience).value().acknowledge();
  EXPECT_EQ(kind_of(in.get(10ms)), "timed_out");
  out = {};
  EXPECT_EQ(kind_of(in.get(patience)), "closed");
}

TEST_P(QueueConformance, RefusesToPassAnEndOnThatOutlivesItHere) {
  auto queue = std::make_optional(make());
  const auto out = queue->sender();
  queue.reset();
  DescriptorList list{16};
  std::vector<std::byte> bytes(encoded_size(out));
  EXPECT_EQ(kind_of(encode(out, bytes, &list)), "refused");
  EXPECT_TRUE(list.empty());
}

}  // namespace troupe::test
