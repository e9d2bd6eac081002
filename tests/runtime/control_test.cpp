// SPDX-License-Identifier: MIT
#include <troupe/runtime/control.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/process.hpp>

#include "leaves_nothing.hpp"
#include "printing.hpp"

namespace troupe::control {
namespace {

/// `record` as a packet, with another value in one of its fields.
template <class Record, class Field>
std::vector<std::byte> with(Record record, Field& (*field)(Record&), unsigned value) {
  const auto at = reinterpret_cast<std::byte*>(&field(record)) - reinterpret_cast<std::byte*>(&record);
  const auto bytes = bytes_of(record);
  std::vector<std::byte> packet{bytes.begin(), bytes.end()};
  std::memset(packet.data() + at, 0, sizeof(Field));
  packet[static_cast<std::size_t>(at)] = static_cast<std::byte>(value);
  return packet;
}

template <class Record, class Field>
void expect_at_most(Field& (*field)(Record&), unsigned max) {
  for (unsigned value = 0; value < 256; ++value)
    EXPECT_EQ(read<Record>(with(Record{}, field, value)).has_value(), value <= max) << value;
}

TEST(ControlRecord, ReadsBackWhatWasWritten) {
  const AddChild child{.method = StartMethod::spawn, .policy = {.daemon = true}, .name = Name{"worker"}};
  const auto again = read<AddChild>(bytes_of(child));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->method, StartMethod::spawn);
  EXPECT_TRUE(again->policy.daemon);
  EXPECT_EQ(again->name.view(), "worker");
}

TEST(ControlRecord, IsNoneOfTooFewBytes) {
  const Pull pull{};
  EXPECT_TRUE(read<Pull>(bytes_of(pull)).has_value());
  EXPECT_FALSE(read<Pull>(bytes_of(pull).first(sizeof pull - 1)).has_value());
}

TEST(ControlRecord, IsNoneWhenAFlagIsNeitherZeroNorOne) {
  expect_at_most(
      +[](Pull & record) -> auto& { return record.took; }, 1);
  expect_at_most(
      +[](Hello & record) -> auto& { return record.ready; }, 1);
  expect_at_most(
      +[](Surroundings & record) -> auto& { return record.own_environment; }, 1);
  expect_at_most(
      +[](AddChild & record) -> auto& { return record.ready_at_entry; }, 1);
  expect_at_most(
      +[](AddChild & record) -> auto& { return record.policy.daemon; }, 1);
  expect_at_most(
      +[](ChildRecord & record) -> auto& { return record.reason.core_dumped; }, 1);
  expect_at_most(
      +[](Transitions & record) -> auto& { return record.records.back().reason.signaled; }, 1);
  expect_at_most(
      +[](Answer & record) -> auto& { return record.ok; }, 1);
}

TEST(ControlRecord, IsNoneWhenAnEnumIsNoneOfItsValues) {
  expect_at_most(
      +[](AddChild & record) -> auto& { return record.method; }, 1);
  expect_at_most(
      +[](AddChild & record) -> auto& { return record.policy.restart; }, 2);
  expect_at_most(
      +[](Connect & record) -> auto& { return record.lane_class; }, 1);
  expect_at_most(
      +[](Quarantine & record) -> auto& { return record.cause; }, static_cast<unsigned>(ErrorKind::system));
  expect_at_most(
      +[](Change & record) -> auto& { return record.kind; }, static_cast<unsigned>(ChangeKind::stop));
  expect_at_most(
      +[](ChildRecord & record) -> auto& { return record.state; },
      static_cast<unsigned>(supervision::ChildState::stopped));
}

// ---- and the keeper, which nothing may harm ----------------------------------------------------------

struct AnyRequest {
  std::array<std::byte, sizeof(AddChild)> bytes{};
};

class HostileClient : public test::LeavesNothing {
 protected:
  static ErrorKind answer_to(const std::vector<std::byte>& packet) {
    AnyRequest request;
    std::ranges::copy(packet, request.bytes.begin());
    auto* const link = detail::KeeperLink::of_process().value();
    return link->ask<Id>(request, {}, {}).error().kind;
  }
};

TEST_F(HostileClient, IsRefusedARecordWhoseFieldsAreNone) {
  EXPECT_EQ(answer_to(with(
                AddChild{}, +[](AddChild & it) -> auto& { return it.policy.restart; }, 9)),
            ErrorKind::malformed);
  EXPECT_EQ(answer_to(with(
                AddChild{}, +[](AddChild & it) -> auto& { return it.policy.daemon; }, 2)),
            ErrorKind::malformed);
  AddChild jitter{};
  jitter.policy.backoff.jitter = std::numeric_limits<double>::quiet_NaN();
  const auto bytes = bytes_of(jitter);
  EXPECT_EQ(answer_to({bytes.begin(), bytes.end()}), ErrorKind::invalid);
  Process process{[] {}};
  process.start().value();
  EXPECT_EQ(process.join(std::chrono::seconds{20}).value().status(), ExitStatus{Exited{0}}) << "it goes on";
}

}  // namespace
}  // namespace troupe::control
