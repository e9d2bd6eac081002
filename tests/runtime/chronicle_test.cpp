// SPDX-License-Identifier: MIT
// What has happened is told once, to those whom it concerns; what was forgotten is counted.
#include <gtest/gtest.h>

#include <troupe/runtime/chronicle.hpp>

namespace troupe::detail {
namespace {

control::SinceIndex since(supervision::SupervisorId supervisor, std::uint64_t index) {
  return {.supervisor = supervisor, .index = index};
}

TEST(Chronicle, TellsEachSupervisorItsOwnStepsInOrder) {
  Chronicle chronicle;
  for (std::uint64_t i = 0; i < 6; ++i) chronicle.record(1 + i % 2, {.id = i});
  const control::Transitions told = chronicle.transitions(since(2, 0));
  ASSERT_EQ(told.count, 3U);
  EXPECT_EQ(told.records[0].id, 1U);
  EXPECT_EQ(told.records[2].id, 5U);
  EXPECT_EQ(told.forgotten, 0U);
  EXPECT_EQ(chronicle.transitions(since(2, told.next)).count, 0U);
}

TEST(Chronicle, TellsMoreThanOnePacketHoldsInSeveral) {
  Chronicle chronicle;
  constexpr std::uint64_t steps = 3 * control::transitions_per_packet + 1;
  for (std::uint64_t i = 0; i < steps; ++i) chronicle.record(1, {.id = i});
  std::uint64_t next = 0;
  std::uint64_t told = 0;
  for (int packets = 0; packets < 4; ++packets) {
    const control::Transitions page = chronicle.transitions(since(1, next));
    for (std::uint32_t i = 0; i < page.count; ++i) EXPECT_EQ(page.records[i].id, told++);
    next = page.next;
  }
  EXPECT_EQ(told, steps);
}

TEST(Chronicle, CountsWhatItHasForgotten) {
  Chronicle chronicle;
  for (std::uint64_t i = 0; i < 5000; ++i) chronicle.record(1, {.id = i});
  const control::Transitions told = chronicle.transitions(since(1, 100));
  EXPECT_EQ(told.forgotten, 5000U - 4096U - 100U);
  EXPECT_EQ(told.records[0].id, 5000U - 4096U);
  EXPECT_EQ(chronicle.transitions(since(1, told.next)).forgotten, 0U);
}

TEST(Chronicle, KeepsTheNewestMessagesThatWereSetAside) {
  Chronicle chronicle;
  for (std::uint32_t i = 0; i < 300; ++i) chronicle.set_aside(1, {.what = {.attempts = i}}, OwnedFd{});
  int payload = -1;
  const control::QuarantinedRecord first = chronicle.quarantined(since(1, 0), payload);
  EXPECT_EQ(first.what.attempts, 300U - 256U);
  EXPECT_EQ(chronicle.quarantined(since(1, first.next), payload).what.attempts, first.what.attempts + 1);
  EXPECT_EQ(chronicle.quarantined(since(2, 0), payload).next, 0U) << "another node's";
  EXPECT_EQ(payload, -1) << "none of them had a payload";
}

}  // namespace
}  // namespace troupe::detail
