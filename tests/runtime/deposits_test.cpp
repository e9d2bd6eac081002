// SPDX-License-Identifier: MIT
// How long the keeper holds the descriptors of a frame: step by step, with real lanes and without processes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <troupe/runtime/switchboard.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

constexpr RoleId sender = 10;
constexpr RoleId reader = 20;
constexpr RoleId stranger = 30;

class DepositsTest : public test::NothingLeft {
 protected:
  DepositsTest() {
    for (const RoleId role : {sender, reader, stranger}) {
      board.add({.role = role, .mailbox_bytes_max = 1 << 20U}).value();
      board.process_starting(role, 1).value();
    }
    start_reader(1);
    connect();
  }

  /// An incarnation of the reader attaches, seals its file and takes what there is.
  void start_reader(Incarnation incarnation) {
    if (incarnation > 1) board.process_starting(reader, incarnation).value();
    Switchboard::Given given;
    const auto attached = board.attach(reader, given).value();
    reader_file = ReaderFile::create(given.descriptors[1], attached.slots).value();
    take_news();
  }
  void take_news() {
    for (bool took = false;; took = true) {
      Switchboard::Given given;
      const auto change = board.pull(reader, took, given);
      if (change.kind == control::ChangeKind::none) return;
      if (change.kind == control::ChangeKind::lane_added)
        lane_in = LaneReader::create(given.descriptors[0], change.lane, reader_file->slot(change.lane.slot),
                                     given.descriptors[1])
                      .value();
    }
  }
  void connect(std::uint64_t replaces = 0) {
    Switchboard::Given given;
    const auto made =
        board.connect(sender, {.to = reader, .payload_bytes = 64, .replaces = replaces}, given).value();
    lane_out = LaneWriter::create(given.descriptors[0], made.lane).value();
    board.connected(sender, made.lane.id);
    take_news();
  }
  Result<void> deposit(std::size_t count = 1) {
    std::vector<OwnedFd> descriptors;
    for (std::size_t i = 0; i < count; ++i)
      descriptors.push_back(detail::owned(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open").value());
    return board.deposit(sender, {.lane = lane_out->spec().id, .offset = lane_out->tail()},
                         std::move(descriptors));
  }
  void publish() {
    lane_out->reserve(8).value();
    lane_out->publish({}, 8);
  }
  std::uint64_t withdraw(RoleId role = reader) {
    Switchboard::Given given;
    return board.withdraw(role, {.lane = lane_in->spec().id, .offset = lane_in->head()}, given).id;
  }
  void acknowledge() { lane_in->acknowledge(lane_in->peek(buffer).value()); }

  Switchboard board = Switchboard::create().value();
  std::optional<ReaderFile> reader_file{};
  std::optional<LaneWriter> lane_out{};
  std::optional<LaneReader> lane_in{};
  std::vector<std::byte> buffer{};
};

TEST_F(DepositsTest, AreFreedOnceTheirFrameWasAcknowledged) {
  deposit(2).value();
  publish();
  EXPECT_EQ(withdraw(), 2U);
  board.acknowledged(reader, lane_in->spec().id);
  EXPECT_EQ(board.deposits(), 2U);  // it was only said
  acknowledge();
  board.acknowledged(reader, lane_in->spec().id);
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, AreFreedAtTheSendersNextOneWhenTheReaderSaidNothing) {
  deposit().value();
  publish();
  acknowledge();
  deposit().value();
  EXPECT_EQ(board.deposits(), 1U);
}

TEST_F(DepositsTest, AreFreedWhenTheirSenderDiesBeforeItPublishes) {
  deposit().value();
  publish();
  deposit().value();
  board.process_ended(sender);
  EXPECT_EQ(board.deposits(), 1U);  // the published one is the reader's
  EXPECT_EQ(withdraw(), 1U);
}

TEST_F(DepositsTest, AreFreedWhenTheirSenderDiesBeforeItsFirstFrame) {
  deposit().value();
  board.process_ended(sender);
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, AreGivenAgainToTheNextIncarnation) {
  deposit().value();
  publish();
  EXPECT_EQ(withdraw(), 1U);
  board.process_ended(reader);
  EXPECT_EQ(board.deposits(), 1U);
  start_reader(2);
  EXPECT_EQ(withdraw(), 1U);
}

TEST_F(DepositsTest, AreFreedWhenTheirReaderDiesBehindTheAcknowledgement) {
  deposit().value();
  publish();
  acknowledge();
  board.process_ended(reader);
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, AreFreedWhenTheRoleOfTheirReaderHasEnded) {
  deposit().value();
  publish();
  board.process_ended(reader);
  board.role_ended(reader, {});
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, AreFreedWhenTheirLaneIsGivenUp) {
  deposit().value();
  publish();
  board.broken(reader, lane_in->spec().id);
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, AreFreedWhenTheirSenderHasMovedToALargerLaneInstead) {
  publish();
  deposit().value();
  const std::uint64_t old = lane_out->spec().id;
  connect(old);
  EXPECT_EQ(board.deposits(), 0U);
}

TEST_F(DepositsTest, OfAFrameThatWasNeverPublishedMakeRoomForTheNext) {
  deposit(3).value();
  deposit(1).value();
  EXPECT_EQ(board.deposits(), 1U);
}

TEST_F(DepositsTest, AreNobodyElses) {
  deposit().value();
  publish();
  EXPECT_EQ(withdraw(stranger), 0U);
  EXPECT_EQ(withdraw(sender), 0U);
  Switchboard::Given given;
  EXPECT_EQ(board.withdraw(reader, {.lane = lane_in->spec().id, .offset = lane_in->head() + 8}, given).id,
            0U);
  EXPECT_EQ(board.withdraw(reader, {.lane = 999, .offset = 0}, given).id, 0U);
  EXPECT_TRUE(given.descriptors.empty());
}

TEST_F(DepositsTest, AreTakenForTheNextFrameOfAnOwnLaneOnly) {
  publish();
  const control::Deposit next{.lane = lane_out->spec().id, .offset = lane_out->tail()};
  EXPECT_EQ(board.deposit(stranger, next, {}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(board.deposit(reader, next, {}).error().kind, ErrorKind::invalid);
  auto unknown = next;
  unknown.lane = 999;
  EXPECT_EQ(board.deposit(sender, unknown, {}).error().kind, ErrorKind::invalid);
  auto past = next;
  past.offset = lane_out->spec().base;
  EXPECT_EQ(board.deposit(sender, past, {}).error().kind, ErrorKind::invalid);
}

TEST_F(DepositsTest, AreBoundedForEachSender) {
  for (int i = 0; i < 8; ++i) {
    deposit(32).value();
    publish();
  }
  const auto more = deposit();
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind, ErrorKind::exhausted);
  acknowledge();
  EXPECT_TRUE(deposit());
}

}  // namespace
}  // namespace troupe
