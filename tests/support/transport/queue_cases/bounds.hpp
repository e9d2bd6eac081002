// SPDX-License-Identifier: MIT
#pragma once
// What happens when it is full, and how many ends it has.

#include <thread>

#include "transport/queue_cases/fixture.hpp"

namespace troupe::test {

TEST_P(QueueConformance, WaitsForRoomUntilTheDeadlineAndNotLess) {
  auto queue = make({.items_max = 2});
  auto out = queue.sender();
  out.put(1).value();
  out.put(2).value();
  const auto before = Clock::now();
  EXPECT_EQ(kind_of(out.put(3, 30ms)), "timed_out");
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_EQ(kind_of(out.put_nowait(3)), "timed_out");
  EXPECT_EQ(queue.size(), 2U) << "what timed out was not put";
  queue.receiver().get(patience).value().acknowledge();
  EXPECT_EQ(out.put(3, patience).value(), Placed::queued);
  EXPECT_EQ(queue.counts().refused_full, 2U);
}

TEST_P(QueueConformance, WakesASenderThatWaits) {
  auto queue = make({.items_max = 1});
  auto out = queue.sender();
  out.put(1).value();
  std::thread late{[in = queue.receiver()]() mutable { in.get(patience).value().acknowledge(); }};
  EXPECT_EQ(out.put(2, patience).value(), Placed::queued);
  late.join();
}

TEST_P(QueueConformance, IsBoundedInBytesAsInItems) {
  auto queue = make<Bytes>({.items_max = 1000, .bytes_max = 10 * 1024});
  auto out = queue.sender();
  std::size_t put = 0;
  while (out.put_nowait(Bytes(1000))) ++put;  // and some bytes of its own each
  EXPECT_EQ(put, 10U);
}

TEST_P(QueueConformance, RefusesImpossibleBounds) {
  for (const QueueOptions& wrong :
       {QueueOptions{.items_max = 0}, QueueOptions{.bytes_max = 0},
        QueueOptions{.bytes_max = std::size_t{1} << 40U}, QueueOptions{.attempts_max = 0}})
    EXPECT_EQ(kind_of(GetParam().create(wrong)), "invalid");
}

TEST_P(QueueConformance, SaysFullAtOnceWhereItIsToFail) {
  auto queue = make({.items_max = 1, .overflow = Overflow::fail});
  auto out = queue.sender();
  out.put(1).value();
  EXPECT_EQ(kind_of(out.put(2, patience)), "full");
  out = {};
  EXPECT_EQ(queue.counts().refused_full, 1U);
}

TEST_P(QueueConformance, DropsTheNewOneWhereItIsToKeepTheOld) {
  auto queue = make({.items_max = 2, .overflow = Overflow::drop_new});
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(out.put(i).value(), i < 2 ? Placed::queued : Placed::dropped);
  out = {};
  EXPECT_EQ(drained(in), (std::vector{0, 1}));
  EXPECT_EQ(queue.counts().dropped_new, 3U);
}

TEST_P(QueueConformance, DropsTheOldestWhereItIsToKeepTheNew) {
  auto queue = make({.items_max = 2, .overflow = Overflow::drop_old});
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(out.put(i).value(), Placed::queued);
  EXPECT_EQ(drained(in), (std::vector{3, 4}));
  EXPECT_EQ(queue.counts().dropped_old, 3U);
}

TEST_P(QueueConformance, DropsNothingOldThatSomebodyHasInHand) {
  auto queue = make({.items_max = 1, .overflow = Overflow::drop_old});
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(1).value();
  auto held = in.get(patience).value();
  EXPECT_EQ(out.put(2).value(), Placed::dropped);
  held.acknowledge();
  ASSERT_TRUE(queue.drain(patience));
  EXPECT_EQ(out.put(3).value(), Placed::queued);
  EXPECT_EQ(drained(in), (std::vector{3}));
}

TEST_P(QueueConformance, ReplacesWhatNobodyHasTakenWhereOnlyTheLatestCounts) {
  auto queue = make({.items_max = 8, .overflow = Overflow::latest});
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(out.put(i).value(), Placed::queued);
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(drained(in), (std::vector{4}));
  EXPECT_EQ(queue.counts().replaced, 4U);
  EXPECT_EQ(queue.counts().put, 5U);
}

TEST_P(QueueConformance, HasNoMoreSendersThanItsBound) {
  auto queue = make({.senders_max = 2});
  auto one = queue.sender();
  auto two = queue.sender();
  const auto error = queue.try_sender().error();
  EXPECT_EQ(error.kind, ErrorKind::exhausted);
  EXPECT_NE(error.text.find("senders_max"), std::string::npos) << error.text;
  one = {};
  EXPECT_EQ(kind_of(queue.try_sender()), "done");
}

TEST_P(QueueConformance, HasNoMoreEndsThanItsBound) {
  auto queue = make({.ends_max = 4});
  std::vector<Receiver<int>> ends;
  auto more = queue.try_receiver();
  for (; more && ends.size() < 4; more = queue.try_receiver()) ends.push_back(std::move(*more));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind, ErrorKind::exhausted);
  EXPECT_NE(more.error().text.find("ends_max"), std::string::npos) << more.error().text;
  ends.pop_back();
  EXPECT_EQ(kind_of(queue.try_receiver()), "done");
}

}  // namespace troupe::test
