// SPDX-License-Identifier: MIT
#pragma once
// What becomes of an item in hand.

#include <unistd.h>

#include <new>
#include <thread>

#include "transport/queue_cases/fixture.hpp"

namespace troupe::test {

TEST_P(QueueConformance, GivesAnItemAgainThatWasGivenBack) {
  auto queue = make();
  auto in = queue.receiver();
  queue.sender().put(5).value();
  in.get(patience).value().give_back();
  auto again = in.get(patience).value();
  EXPECT_EQ(*again, 5);
  EXPECT_EQ(again.attempt(), 2U);
  again.acknowledge();
  EXPECT_EQ(queue.counts().given_back, 1U);
}

TEST_P(QueueConformance, TakesAnItemBackThatIsDroppedWithoutAWord) {
  auto queue = make();
  auto in = queue.receiver();
  queue.sender().put(5).value();
  { auto forgotten = in.get(patience).value(); }
  EXPECT_EQ(in.get(patience).value().attempt(), 2U);
}

TEST_P(QueueConformance, SetsAnItemAsideThatFailedTooOften) {
  auto queue = make<Job>({.attempts_max = 2});
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put({13, "poison"}).value();
  in.get(patience).value().give_back();
  in.get(patience).value().give_back();
  out.put({14, "fine"}).value();
  auto next = in.get(patience).value();
  EXPECT_EQ(next->number, 14);
  next.acknowledge();
  EXPECT_EQ(kind_of(in.get_nowait()), "timed_out");
  ASSERT_TRUE(queue.drain(patience));
  const auto kept = queue.quarantine();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].cause, QuarantinedItem::Cause::attempts);
  EXPECT_EQ(kept[0].attempts, 2U);
  EXPECT_EQ(kept[0].type, type_id<Job>);
  EXPECT_EQ(decode<Job>(kept[0].bytes).value().text, "poison");
  EXPECT_EQ(queue.counts().quarantined, 1U);
  EXPECT_EQ(queue.size(), 0U);
}

TEST_P(QueueConformance, SetsAnItemAsideAtOnceThatIsGivenUp) {
  auto queue = make();
  auto in = queue.receiver();
  queue.sender().put(5).value();
  in.get(patience).value().give_up();
  EXPECT_EQ(kind_of(in.get_nowait()), "timed_out");
  ASSERT_EQ(queue.quarantine().size(), 1U);
  EXPECT_EQ(queue.quarantine()[0].cause, QuarantinedItem::Cause::given_up);
  EXPECT_EQ(queue.size(), 0U);
}

TEST_P(QueueConformance, SetsBytesAsideThatDoNotDecodeAndGivesTheNextItem) {
  auto jobs = make<Job>();
  auto numbers = found<int>();  // whoever means another type
  numbers.sender().put(1).value();
  auto out = jobs.sender();
  out.put({2, "two"}).value();
  auto job = jobs.receiver().get(patience).value();
  EXPECT_EQ(job->number, 2);
  job.acknowledge();
  ASSERT_TRUE(jobs.drain(patience));
  ASSERT_EQ(jobs.quarantine().size(), 1U);
  EXPECT_EQ(jobs.quarantine()[0].cause, QuarantinedItem::Cause::malformed);
}

/// There is no memory for it, once.
struct Large {
  int number = 0;
  static inline bool fits = false;
  template <class Archive>
  void save(Archive& archive) const {
    archive(number);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(number);
    if (!std::exchange(fits, true)) throw std::bad_alloc{};
  }
};

TEST_P(QueueConformance, KeepsAnItemThatItsReceiverHasNoMemoryFor) {
  Large::fits = false;
  auto queue = make<Large>();
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put({7}).value();
  EXPECT_EQ(kind_of(in.get(patience)), "exhausted");
  auto item = in.get(patience).value();
  EXPECT_EQ(item->number, 7);
  EXPECT_EQ(item.attempt(), 2U);
  item.acknowledge();
  EXPECT_TRUE(queue.quarantine().empty());
}

TEST_P(QueueConformance, KeepsTheLastOfWhatWasSetAside) {
  auto queue = make({.items_max = 4});
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 200; ++i) {
    out.put(i, patience).value();
    in.get(patience).value().give_up();
  }
  ASSERT_TRUE(queue.drain(patience));
  const auto kept = queue.quarantine();
  ASSERT_EQ(kept.size(), 64U);
  for (std::size_t i = 0; i < kept.size(); ++i)
    EXPECT_EQ(decode<int>(kept[i].bytes).value(), static_cast<int>(136 + i));
  EXPECT_EQ(queue.counts().quarantined, 200U);
}

TEST_P(QueueConformance, DrainsWhenAllIsAcknowledged) {
  auto queue = make();
  auto in = queue.receiver();
  auto out = queue.sender();
  for (int i = 0; i < 50; ++i) out.put(i).value();
  std::thread worker{[&] {
    for (int i = 0; i < 50; ++i) in.get(patience).value().acknowledge();
  }};
  EXPECT_TRUE(queue.drain(patience).has_value());
  EXPECT_EQ(queue.size(), 0U);
  worker.join();
}

TEST_P(QueueConformance, SaysWhoHoldsWhatWhenItIsNotDrained) {
  auto queue = make({.ahead_items_max = 0});
  {
    auto out = queue.sender();
    out.put(1).value();
    out.put(2).value();
  }
  const Gate has_it;
  const Gate may_go;
  Forked child{[&] {
    auto in = found().receiver();
    auto item = in.get(patience).value();
    has_it.open();
    if (!may_go.wait()) return 1;
    item.acknowledge();
    in.get(patience).value().acknowledge();
    return 0;
  }};
  ASSERT_TRUE(has_it.wait());
  auto far = found();
  for (auto* access : {&queue, &far}) {
    const auto before = Clock::now();
    const auto error = access->drain(20ms).error();
    EXPECT_GE(Clock::now() - before, 20ms);
    EXPECT_EQ(error.kind, ErrorKind::timed_out);
    EXPECT_NE(error.text.find("2 items not acknowledged"), std::string::npos) << error.text;
    EXPECT_NE(error.text.find("process " + std::to_string(child.pid()) + " holds 1 item"), std::string::npos)
        << error.text;
    ASSERT_EQ(access->holders().size(), 1U);
    EXPECT_EQ(access->holders()[0].process, mark_of(child.pid()).value());
    EXPECT_EQ(access->size(), 2U);
  }
  may_go.open();
  EXPECT_TRUE(far.drain(patience));
  EXPECT_TRUE(queue.drain(patience));
  EXPECT_EQ(child.exit_code(soon()), 0);
  EXPECT_EQ(far.counts(), queue.counts());
}

}  // namespace troupe::test
