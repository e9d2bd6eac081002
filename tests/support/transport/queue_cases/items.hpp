// SPDX-License-Identifier: MIT
#pragma once
// What is put and what is got.

#include <algorithm>
#include <map>
#include <thread>
#include <troupe/transport/blob.hpp>

#include "transport/queue_cases/fixture.hpp"

namespace troupe::test {

TEST_P(QueueConformance, GivesWhatWasPutInOrder) {
  auto jobs = make<Job>();
  auto out = jobs.sender();
  auto in = jobs.receiver();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(out.put({i, std::to_string(i)}).value(), Placed::queued);
  EXPECT_EQ(jobs.size(), 100U);
  for (int i = 0; i < 100; ++i) {
    auto job = in.get(patience).value();
    EXPECT_EQ(job->number, i);
    EXPECT_EQ(job->text, std::to_string(i));
    EXPECT_EQ(job.attempt(), 1U);
    job.acknowledge();
  }
  ASSERT_TRUE(jobs.drain(patience));
  EXPECT_EQ(jobs.size(), 0U);
  EXPECT_EQ(jobs.counts(), (QueueCounts{.put = 100, .acknowledged = 100}));
}

TEST_P(QueueConformance, KeepsTheOrderOfEachOfItsSenders) {
  constexpr int items = 200;
  auto queue = make<Job>({.items_max = 16});
  std::vector<Forked> senders;
  for (const char* name : {"one", "two", "three"})
    senders.emplace_back([&, name] {
      auto out = found<Job>().sender();
      for (int i = 0; i < items; ++i)
        if (!out.put({i, name}, patience)) return 1;
      return 0;
    });
  auto in = queue.receiver();
  std::map<std::string, int> next;
  for (int i = 0; i < 3 * items; ++i) {
    auto job = in.get(patience).value();
    ASSERT_EQ(job->number, next[job->text]++) << job->text;
    job.acknowledge();
  }
  for (auto& sender : senders) EXPECT_EQ(sender.exit_code(soon()), 0);
}

TEST_P(QueueConformance, CountsWhatIsPutAndNotAcknowledged) {
  auto queue = make({.ahead_items_max = 0});
  auto out = queue.sender();
  auto in = queue.receiver();
  EXPECT_EQ(queue.size(), 0U);
  out.put(1).value();
  out.put(2).value();
  EXPECT_EQ(queue.size(), 2U);
  auto first = in.get(patience).value();
  EXPECT_EQ(queue.size(), 2U) << "what is in hand is in the queue";
  first.acknowledge();
  auto second = in.get(patience).value();
  EXPECT_EQ(queue.size(), 1U);
}

TEST_P(QueueConformance, WaitsForAnItemUntilTheDeadlineAndNotLess) {
  auto queue = make();
  auto out = queue.sender();
  auto in = queue.receiver();
  const auto before = Clock::now();
  EXPECT_EQ(kind_of(in.get(30ms)), "timed_out");
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_EQ(kind_of(in.get_nowait()), "timed_out");
  out.put(7).value();
  auto item = in.get_nowait().value();
  EXPECT_EQ(*item, 7);
  EXPECT_EQ(item.attempt(), 1U) << "what came too late was not taken";
}

TEST_P(QueueConformance, WakesAReceiverThatWaits) {
  auto queue = make();
  auto in = queue.receiver();
  std::thread late{[out = queue.sender()]() mutable { out.put(7).value(); }};
  auto item = in.get(patience).value();
  EXPECT_EQ(*item, 7);
  item.acknowledge();
  late.join();
}

TEST_P(QueueConformance, HoldsEverySizeUpToItsBound) {
  auto queue = make<Bytes>({.items_max = 64, .bytes_max = 8192});
  auto out = queue.sender();
  auto in = queue.receiver();
  std::uint64_t seed = 0;
  for (int round = 0; round < 20; ++round)
    for (const std::size_t bytes : {0U, 1U, 7U, 8U, 9U, 1000U, 4096U, 8176U}) {
      const auto payload = pattern(++seed, bytes);
      ASSERT_EQ(out.put(payload, patience).value(), Placed::queued) << bytes;
      auto item = in.get(patience).value();
      ASSERT_EQ(*item, payload);
      item.acknowledge();
    }
}

TEST_P(QueueConformance, RefusesWhatCanNeverFit) {
  auto queue = make<Bytes>({.bytes_max = 4096});
  auto out = queue.sender();
  const auto error = out.put(Bytes(4096)).error();
  EXPECT_EQ(error.kind, ErrorKind::invalid);
  EXPECT_NE(error.text.find("bytes_max"), std::string::npos) << error.text;
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_EQ(out.put(Bytes(1000)).value(), Placed::queued) << "and goes on";
}

struct Picture {
  Blob pixels{};
  int width = 0;
};

/// With a keeper, shared memory carries it: tests/runtime/queue_blob_test.cpp.
TEST_P(QueueConformance, RefusesABlobThatNobodyWouldKeep) {
  auto queue = make<Picture>();
  auto out = queue.sender();
  EXPECT_EQ(kind_of(out.put({Blob::create(Bytes(100'000)).value(), 640})), "refused");
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_EQ(kind_of(queue.receiver().get_nowait()), "timed_out");
}

TEST_P(QueueConformance, WritesAndReadsBytesInPlace) {
  auto queue = make<Bytes>({.bytes_max = 1U << 20U});
  auto out = queue.sender();
  auto in = queue.receiver();
  const auto payload = pattern(3, 100'000);
  {
    auto room = out.reserve(200'000).value();
    ASSERT_EQ(room.bytes().size(), 200'000U);
    std::ranges::copy(payload, room.bytes().begin());
    EXPECT_EQ(std::move(room).commit(payload.size()).value(), Placed::queued);
  }
  auto view = in.view(patience).value();
  EXPECT_TRUE(std::ranges::equal(view.bytes(), payload));
  view.item().acknowledge();
  ASSERT_TRUE(queue.drain(patience));
}

TEST_P(QueueConformance, HasPutNothingThatWasNotCommitted) {
  auto queue = make<Bytes>();
  auto out = queue.sender();
  { [[maybe_unused]] const auto room = out.reserve(100).value(); }
  EXPECT_EQ(queue.size(), 0U);
  out.put(pattern(1, 10)).value();
  EXPECT_EQ(*queue.receiver().get(patience).value(), pattern(1, 10));
}

TEST_P(QueueConformance, IsReadableOnceSomethingIsThere) {
  auto queue = make();
  auto in = queue.receiver();
  auto out = queue.sender();
  EXPECT_EQ(kind_of(select({in.readable()}, 10ms)), "timed_out");
  std::thread late{[&] { out.put(1).value(); }};
  EXPECT_EQ(select({in.readable()}, patience).value(), (std::vector<std::size_t>{0}));
  late.join();
  in.get_nowait().value().acknowledge();
  EXPECT_EQ(kind_of(select({in.readable()}, 10ms)), "timed_out");
}

TEST_P(QueueConformance, HoldsNoMoreDescriptorsWhateverPassesThroughIt) {
  auto queue = make({.items_max = 16});
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(0).value();
  in.get(patience).value().acknowledge();
  const auto before = Holdings::now();
  for (int i = 0; i < 3'000; ++i) {
    out.put(i, patience).value();
    in.get(patience).value().acknowledge();
  }
  EXPECT_EQ(left_over(before, Holdings::now()), std::vector<std::string>{});
}

}  // namespace troupe::test
