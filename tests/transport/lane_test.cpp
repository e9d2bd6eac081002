// SPDX-License-Identifier: MIT
#include <troupe/transport/lane.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <troupe/transport/clock.hpp>

#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::fill;
using test::Lane;
using test::pattern;
using test::receive_all;
using test::send;
using test::was_rung;

constexpr std::uint64_t type_of_test = 0xABCD;

FrameInfo numbered(std::uint64_t sequence) { return {.type = type_of_test, .sequence = sequence}; }

class LaneEnds : public test::NothingLeft {};

TEST_F(LaneEnds, DeliverFramesInOrderWithTypeSequenceAndBytes) {
  Lane lane;
  for (std::uint64_t n = 1; n <= 5; ++n) ASSERT_TRUE(send(lane.writer, pattern(n, 10 * n), numbered(n)));

  const auto received = receive_all(lane.reader);

  ASSERT_EQ(received.size(), 5U);
  for (std::uint64_t n = 1; n <= 5; ++n) {
    EXPECT_EQ(received[n - 1].info.type, type_of_test);
    EXPECT_EQ(received[n - 1].info.sequence, n);
    EXPECT_EQ(received[n - 1].payload, pattern(n, 10 * n));
  }
  EXPECT_TRUE(lane.writer.drained());
}

TEST_F(LaneEnds, NumberFramesByTheirOffset) {
  Lane lane{{.id = 1, .base = 4096}};
  const auto first = lane.writer.reserve(10).value();
  ASSERT_GE(first.size(), 10U);
  EXPECT_EQ(lane.writer.publish(numbered(1), 10), 4096U);
  ASSERT_GE(lane.writer.reserve(1).value().size(), 1U);
  EXPECT_EQ(lane.writer.publish(numbered(2), 1), 4096U + lane::frame_bytes(10));
  EXPECT_EQ(lane.writer.tail(), 4096U + lane::frame_bytes(10) + lane::frame_bytes(1));

  const auto received = receive_all(lane.reader);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].offset, 4096U);
  EXPECT_EQ(received[1].offset, 4096U + lane::frame_bytes(10));
}

TEST_F(LaneEnds, CarryRecordsAcrossTheEndOfTheRing) {
  Lane lane;
  const auto big = lane.writer.payload_bytes_max();
  std::uint64_t crossings = 0;
  for (std::uint64_t n = 1; n <= 200; ++n) {
    const auto bytes = n * 131 % (big + 1);
    const auto begin = lane.writer.tail();
    ASSERT_TRUE(send(lane.writer, pattern(n, bytes), numbered(n)));
    crossings += begin / lane.spec.capacity != (lane.writer.tail() - 1) / lane.spec.capacity ? 1 : 0;
    const auto received = receive_all(lane.reader);
    ASSERT_EQ(received.size(), 1U);
    ASSERT_EQ(received[0].payload, pattern(n, bytes)) << "message " << n;
  }
  EXPECT_GT(crossings, 10U);
}

TEST_F(LaneEnds, CarryAFrameWhoseHeaderCrossesTheEndOfTheRing) {
  for (const std::uint64_t before : {8U, 16U, 24U}) {
    Lane lane{{.id = 1, .base = 10 * lane::capacity_min - before}};
    ASSERT_TRUE(send(lane.writer, pattern(before, 100), numbered(before)));
    const auto received = receive_all(lane.reader);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].info.sequence, before);
    EXPECT_EQ(received[0].payload, pattern(before, 100));
  }
}

TEST_F(LaneEnds, CarryEmptyFrames) {
  Lane lane;
  ASSERT_NE(lane.writer.reserve(0).value().data(), nullptr);
  lane.writer.publish(numbered(1), 0);
  ASSERT_TRUE(lane.reader.pending());
  const auto received = receive_all(lane.reader);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_TRUE(received[0].payload.empty());
  EXPECT_EQ(received[0].info.sequence, 1U);
}

TEST_F(LaneEnds, CarryFramesOfTheMaximumSizeAndRefuseOneByteMore) {
  for (const std::uint64_t capacity : {lane::capacity_min, 4 * lane::capacity_min, lane::capacity_max}) {
    Lane lane{{.id = 3, .capacity = capacity}};
    const auto bytes_max = lane.writer.payload_bytes_max();
    EXPECT_EQ(bytes_max, capacity / lane::frame_share - sizeof(lane::FrameHeader));
    EXPECT_TRUE(lane.writer.reserve(bytes_max + 1).value().empty());
    EXPECT_LE(lane.writer.reserve(1).value().size(), bytes_max);
    ASSERT_TRUE(send(lane.writer, pattern(1, bytes_max), numbered(1)));
    const auto received = receive_all(lane.reader);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].payload, pattern(1, bytes_max));
  }
}

TEST_F(LaneEnds, PublishOnlyAsMuchOfTheRoomAsIsSaid) {
  Lane lane;
  const auto room = lane.writer.reserve(1).value();
  std::memset(room.data(), 0x55, room.size());
  lane.writer.publish(numbered(1), 3);
  const auto received = receive_all(lane.reader);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].payload, std::vector<std::byte>(3, std::byte{0x55}));
}

TEST_F(LaneEnds, GiveNoRoomWhenFullAndRoomAgainAfterAnAcknowledge) {
  Lane lane;
  const auto sent = fill(lane.writer, 1000);
  EXPECT_GE(sent, lane.spec.capacity / lane::frame_bytes(1000));
  EXPECT_TRUE(lane.writer.reserve(1000).value().empty());

  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());
  EXPECT_GE(lane.writer.reserve(1000).value().size(), 1000U);
}

TEST_F(LaneEnds, UseEveryByteOfTheRing) {
  Lane lane;
  EXPECT_EQ(fill(lane.writer, 32), lane.spec.capacity / lane::frame_bytes(32));
  EXPECT_EQ(lane.writer.tail() - lane.writer.head(), lane.spec.capacity);
  EXPECT_EQ(lane.writer.reserve(0).value().data(), nullptr);
  EXPECT_EQ(receive_all(lane.reader).size(), lane.spec.capacity / lane::frame_bytes(32));
}

TEST_F(LaneEnds, SendBeforeAReaderIsAttached) {
  const LaneSpec spec{.id = 1, .base = 800};
  const auto file = test::new_writer_file(spec);
  auto writer = LaneWriter::create(file.get(), spec).value();
  EXPECT_EQ(fill(writer, 1000), 7U);
  EXPECT_FALSE(writer.drained());

  const auto words_file = test::new_reader_file(1, spec.base);
  const auto words = ReaderFile::create(words_file.get(), 1).value();
  auto reader = LaneReader::create(file.get(), spec, words.slot(0), -1).value();
  EXPECT_EQ(receive_all(reader).size(), 7U);
}

TEST_F(LaneEnds, RefuseASpecThatMakesNoSense) {
  for (const std::uint64_t capacity :
       {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{12288}, std::uint64_t{2 * lane::capacity_max}}) {
    const auto file = create_memory("test", lane::page_bytes + std::max<std::size_t>(capacity, 4096)).value();
    EXPECT_FALSE(LaneWriter::create(file.get(), {.id = 1, .capacity = capacity})) << capacity;
  }
  const auto file = test::new_writer_file({});
  EXPECT_FALSE(LaneWriter::create(file.get(), {.id = 1, .base = 4})) << "a base that is not aligned";
}

// --- the bells

class LaneBells : public test::NothingLeft {};

TEST_F(LaneBells, AreNotRungForAReaderThatIsAwake) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  EXPECT_FALSE(was_rung(lane.reader_bell.get()));
}

TEST_F(LaneBells, AreRungOncePerSleep) {
  Lane lane;
  lane.words.announce_sleep();
  EXPECT_EQ(lane.words.page().asleep.load() % 2, 1U);
  for (std::uint64_t n = 1; n <= 10; ++n) ASSERT_TRUE(send(lane.writer, pattern(n, 8), numbered(n)));
  std::uint64_t rings = 0;
  ASSERT_EQ(::read(lane.reader_bell.get(), &rings, sizeof rings), 8);
  EXPECT_EQ(rings, 1U);

  lane.words.end_sleep();
  EXPECT_EQ(lane.words.page().asleep.load() % 2, 0U);
  ASSERT_TRUE(send(lane.writer, pattern(11, 8), numbered(11)));
  EXPECT_FALSE(was_rung(lane.reader_bell.get()));

  lane.words.announce_sleep();
  ASSERT_TRUE(send(lane.writer, pattern(12, 8), numbered(12)));
  EXPECT_TRUE(was_rung(lane.reader_bell.get())) << "a new sleep is worth a new ring";
}

TEST_F(LaneBells, AreNotNeededForAFrameThatWasThereBeforeTheSleep) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  lane.words.announce_sleep();
  EXPECT_TRUE(lane.reader.pending()) << "the second look, between announcing and sleeping, must see it";
}

TEST_F(LaneBells, OfAWaitingWriterAreRungWhenAQuarterIsFree) {
  Lane lane;
  fill(lane.writer, 480);
  lane.writer.announce_wait();
  std::vector<std::byte> buffer;
  std::uint64_t free = 0;
  while (!was_rung(lane.credit_bell.get())) {
    ASSERT_TRUE(lane.reader.pending()) << "the lane is empty and nobody told the writer";
    const auto frame = lane.reader.peek(buffer).value();
    lane.reader.acknowledge(frame);
    free += lane::frame_bytes(frame.payload.size());
  }
  EXPECT_GE(free, lane.spec.capacity / 4);
  EXPECT_LE(free, lane.spec.capacity / 4 + lane::frame_bytes(480));
  EXPECT_GE(lane.writer.reserve(480).value().size(), 480U);
}

TEST_F(LaneBells, OfAWaitingWriterAreRungWhenTheLaneIsEmpty) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  lane.writer.announce_wait();
  EXPECT_EQ(receive_all(lane.reader).size(), 1U);
  EXPECT_TRUE(was_rung(lane.credit_bell.get()));
}

TEST_F(LaneBells, OfAWriterThatDoesNotWaitAreNotRung) {
  Lane lane;
  fill(lane.writer, 480);
  lane.writer.announce_wait();
  lane.writer.end_wait();
  EXPECT_FALSE(receive_all(lane.reader).empty());
  EXPECT_FALSE(was_rung(lane.credit_bell.get()));
}

TEST_F(LaneBells, OfAWaitingWriterAreRungOncePerWait) {
  Lane lane;
  fill(lane.writer, 480);
  lane.writer.announce_wait();
  EXPECT_FALSE(receive_all(lane.reader).empty());
  std::uint64_t rings = 0;
  ASSERT_EQ(::read(lane.credit_bell.get(), &rings, sizeof rings), 8);
  EXPECT_EQ(rings, 1U);
  lane.writer.end_wait();

  fill(lane.writer, 480);
  lane.writer.announce_wait();
  EXPECT_FALSE(receive_all(lane.reader).empty());
  EXPECT_TRUE(was_rung(lane.credit_bell.get())) << "a new wait is worth a new ring";
}

TEST_F(LaneBells, StayQuietAboutALaneThatIsSettledTwice) {
  Lane lane;
  lane.reader.settle();
  lane.reader.settle();
  EXPECT_FALSE(was_rung(lane.credit_bell.get()));
}

// --- one incarnation of a reader after another, one lane after another in a slot

class LaneIncarnations : public test::NothingLeft {};

TEST_F(LaneIncarnations, OfferWhatWasNotAcknowledged) {
  Lane lane;
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(send(lane.writer, pattern(n, 100), numbered(n)));
  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());

  lane.restart_reader();

  const auto received = receive_all(lane.reader);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].payload, pattern(2, 100));
  EXPECT_EQ(received[1].payload, pattern(3, 100));
}

TEST_F(LaneIncarnations, LookSlowerAndNeverWrongToAWriterThatDoesNotKnowYet) {
  Lane lane;
  fill(lane.writer, 1000);
  lane.restart_reader();
  EXPECT_EQ(receive_all(lane.reader).size(), 7U);

  EXPECT_FALSE(lane.writer.drained());
  EXPECT_TRUE(lane.writer.reserve(1000).value().empty()) << "the old file still says full";
  lane.attach();
  EXPECT_TRUE(lane.writer.drained());
  EXPECT_EQ(fill(lane.writer, 1000), 7U);
  EXPECT_EQ(receive_all(lane.reader).size(), 7U);
}

TEST_F(LaneIncarnations, AreRungForWhatWasSentBeforeTheyWereKnown) {
  Lane lane;
  lane.restart_reader();
  lane.words.announce_sleep();
  ASSERT_FALSE(lane.reader.pending());
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));  // looks at the old file, where nobody sleeps
  ASSERT_FALSE(was_rung(lane.reader_bell.get()));

  lane.attach();
  EXPECT_TRUE(was_rung(lane.reader_bell.get()));
}

TEST_F(LaneIncarnations, AreNotRungAtAttachmentIfNothingWaits) {
  Lane lane;
  lane.words.announce_sleep();
  lane.attach();
  EXPECT_FALSE(was_rung(lane.reader_bell.get()));
}

TEST_F(LaneIncarnations, RingAWriterThatHasWaitedSinceTheLastOne) {
  Lane lane;
  fill(lane.writer, 1000);
  lane.writer.announce_wait();
  lane.restart_reader();
  EXPECT_EQ(receive_all(lane.reader).size(), 7U);
  EXPECT_TRUE(was_rung(lane.credit_bell.get()));
}

TEST_F(LaneIncarnations, CountAttemptsOfTheSameFrameTogether) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  ASSERT_TRUE(send(lane.writer, pattern(2, 8), numbered(2)));
  EXPECT_EQ(lane.reader.begin_attempt(), 1U);
  lane.restart_reader();
  EXPECT_EQ(lane.reader.begin_attempt(), 2U);
  lane.restart_reader();
  EXPECT_EQ(lane.reader.begin_attempt(), 3U);

  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());
  EXPECT_EQ(lane.reader.begin_attempt(), 1U) << "another frame, another count";
  lane.restart_reader();
  EXPECT_EQ(lane.reader.begin_attempt(), 2U);
}

TEST_F(LaneIncarnations, ShowTheWriterTheAttemptAndItsFrame) {
  Lane lane{{.id = 1, .base = 160}};
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  lane.reader.begin_attempt();
  EXPECT_EQ(lane.writer.attempt(), std::uint64_t{160} << lane::attempts_bits | 1U);
}

TEST_F(LaneIncarnations, DoNotCountAForgivenAttempt) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  EXPECT_EQ(lane.reader.begin_attempt(), 1U);
  lane.restart_reader();
  EXPECT_EQ(lane.reader.begin_attempt(), 2U);
  lane.reader.forgive_attempts();
  lane.restart_reader();
  EXPECT_EQ(lane.reader.begin_attempt(), 1U);
}

TEST_F(LaneIncarnations, NeverCountAnAttemptBackToZero) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  std::uint32_t last = 0;
  for (int i = 0; i < 300; ++i) {
    const auto count = lane.reader.begin_attempt();
    ASSERT_GE(count, last);
    last = count;
  }
  EXPECT_EQ(last, lane::attempts_mask);
  EXPECT_EQ(lane.writer.attempt() >> lane::attempts_bits, 0U) << "the count must not spill into the offset";
}

TEST_F(LaneIncarnations, ResumeWhereTheirKeptStateSays) {
  Lane lane;
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(send(lane.writer, pattern(n, 100), numbered(n)));
  lane.restart_reader();
  lane.reader.resume_at(2 * lane::frame_bytes(100));
  EXPECT_EQ(lane.reader.head(), 2 * lane::frame_bytes(100));
  const auto received = receive_all(lane.reader);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].info.sequence, 3U);
  lane.attach();
  EXPECT_TRUE(lane.writer.drained()) << "the place is shown to the writer too";
}

TEST_F(LaneIncarnations, ShowThePlaceTheyResumedAtBeforeAnythingIsAcknowledged) {
  Lane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  lane.reader.resume_at(lane::frame_bytes(100));
  EXPECT_FALSE(lane.reader.pending());
  EXPECT_TRUE(lane.writer.drained());
}

TEST_F(LaneIncarnations, NeverResumeBeforeWhatWasAcknowledged) {
  Lane lane;
  for (std::uint64_t n = 1; n <= 2; ++n) ASSERT_TRUE(send(lane.writer, pattern(n, 100), numbered(n)));
  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());
  lane.restart_reader();
  lane.reader.resume_at(0);
  EXPECT_EQ(lane.reader.head(), lane::frame_bytes(100));
  EXPECT_EQ(receive_all(lane.reader).size(), 1U);
}

TEST_F(LaneIncarnations, GiveASlotToANewLaneThatBeginsWhereTheLastOneEnded) {
  Lane lane;
  fill(lane.writer, 1000);
  EXPECT_EQ(receive_all(lane.reader).size(), 7U);
  const auto end = lane.reader.head();

  const LaneSpec grown{
      .id = 8, .capacity = lane::capacity_growth * lane.spec.capacity, .base = end, .slot = lane.spec.slot};
  const auto file = test::new_writer_file(grown);
  auto writer = LaneWriter::create(file.get(), grown).value();
  writer.attach_reader(test::view_of(lane.reader_file.get(), Lane::slots), lane.reader_bell.get());
  EXPECT_TRUE(writer.drained());
  auto reader = LaneReader::create(file.get(), grown, lane.words.slot(0), lane.credit_bell.get()).value();
  EXPECT_FALSE(reader.pending());
  ASSERT_TRUE(send(writer, pattern(1, 5000), numbered(1)));
  const auto received = receive_all(reader);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].offset, end);
  EXPECT_EQ(received[0].payload, pattern(1, 5000));
}

TEST_F(LaneIncarnations, KeepSlotsApart) {
  const LaneSpec second{.id = 9, .slot = 1};
  Lane lane;
  const auto file = test::new_writer_file(second);
  auto writer = LaneWriter::create(file.get(), second).value();
  writer.attach_reader(test::view_of(lane.reader_file.get(), Lane::slots), lane.reader_bell.get());
  auto reader = LaneReader::create(file.get(), second, lane.words.slot(1), lane.credit_bell.get()).value();
  ASSERT_TRUE(send(writer, pattern(2, 64), numbered(2)));
  ASSERT_TRUE(send(lane.writer, pattern(1, 8), numbered(1)));
  EXPECT_EQ(receive_all(reader).size(), 1U);
  EXPECT_TRUE(writer.drained());
  EXPECT_FALSE(lane.writer.drained());
}

// --- what a reader shows of itself

class ReaderWords : public test::NothingLeft {};

TEST_F(ReaderWords, BeginAsTheMakerWroteThem) {
  const auto file = test::new_reader_file(3, 4711 * 8, 2);
  const auto words = ReaderFile::create(file.get(), 3).value();
  EXPECT_EQ(words.slot(0).head.load(), 0U);
  EXPECT_EQ(words.slot(2).head.load(), 4711U * 8);
  EXPECT_EQ(words.page().asleep.load() % 2, 0U);
  EXPECT_EQ(ReaderFile::initial(3).size(), lane::reader_file_bytes(3));
}

TEST_F(ReaderWords, CarryALineOfTextCutAtItsBound) {
  const auto file = test::new_reader_file(1);
  auto words = ReaderFile::create(file.get(), 1).value();
  const auto view = test::view_of(file.get(), 1);
  EXPECT_EQ(view->note(), "");
  words.note("reading /usr/bin/true");
  EXPECT_EQ(view->note(), "reading /usr/bin/true");
  words.note(std::string(500, 'x'));
  EXPECT_EQ(view->note(), std::string(lane::note_bytes_max, 'x'));
  words.note("");
  EXPECT_EQ(view->note(), "");
}

TEST_F(ReaderWords, ShowWholeLinesWhileTheyChange) {
  const auto file = test::new_reader_file(1);
  auto words = ReaderFile::create(file.get(), 1).value();
  const auto view = test::view_of(file.get(), 1);
  std::atomic<bool> stop{false};
  std::thread writer{[&] {
    for (unsigned i = 0; !stop.load(std::memory_order_relaxed); ++i)
      words.note(std::string(4 * (i % 26 + 1), static_cast<char>('a' + i % 26)));
  }};
  std::size_t seen = 0;
  for (const auto deadline = deadline_in(10s); seen < 20'000 && Clock::now() < deadline;) {
    const auto line = view->note();
    if (line.empty()) continue;
    ++seen;
    ASSERT_EQ(line, std::string(4 * (static_cast<std::size_t>(line[0] - 'a') + 1), line[0])) << "torn";
  }
  stop = true;
  writer.join();
  EXPECT_GT(seen, 0U);
}

TEST_F(ReaderWords, AreRefusedToOthersUntilSealed) {
  const auto file = test::new_reader_file(2);
  const auto early = ReaderView::create(file.get(), 2);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().kind, ErrorKind::refused);
  EXPECT_TRUE(ReaderView::create(file.get(), 2, ReaderView::Seals::not_yet));
  const auto words = ReaderFile::create(file.get(), 2).value();
  EXPECT_TRUE(ReaderView::create(file.get(), 2));
  const auto other = ReaderView::create(file.get(), 3);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::refused) << "of another size than agreed";
}

TEST_F(ReaderWords, HaveOneOwnerOnly) {
  const auto file = test::new_reader_file(1);
  const auto words = ReaderFile::create(file.get(), 1).value();
  EXPECT_FALSE(ReaderFile::create(file.get(), 1)) << "a second writable mapping of a sealed file";
}

// --- a sender that lies

/// A lane whose ring the test can write, as its sender could.
struct HostileLane {
  explicit HostileLane(const LaneSpec& spec = {.id = 7})
      : file{test::new_writer_file(spec)},
        map{MemoryMap::create_ring(file.get(), lane::page_bytes, spec.capacity, Access::read_write).value()},
        words_file{test::new_reader_file(1, spec.base)},
        words{ReaderFile::create(words_file.get(), 1).value()},
        writer{LaneWriter::create(file.get(), spec).value()},
        reader{LaneReader::create(file.get(), spec, words.slot(0), -1).value()} {}

  lane::WriterPage& page() { return *reinterpret_cast<lane::WriterPage*>(map.data()); }
  std::byte* ring(std::uint64_t offset) {
    return map.data() + lane::page_bytes + offset % writer.spec().capacity;
  }
  lane::FrameHeader header(std::uint64_t offset) {
    lane::FrameHeader header{};
    std::memcpy(&header, ring(offset), sizeof header);
    return header;
  }
  void put(std::uint64_t offset, const lane::FrameHeader& header) {
    std::memcpy(ring(offset), &header, sizeof header);
  }

  OwnedFd file;
  MemoryMap map;
  OwnedFd words_file;
  ReaderFile words;
  LaneWriter writer;
  LaneReader reader;
};

class HostileWriter : public test::NothingLeft {
 protected:
  static void expect_malformed(const LaneReader& reader, const char* what) {
    SCOPED_TRACE(what);
    std::vector<std::byte> buffer;
    ASSERT_TRUE(reader.pending());
    const auto frame = reader.peek(buffer);
    ASSERT_FALSE(frame);
    EXPECT_EQ(frame.error().kind, ErrorKind::malformed);
    EXPECT_FALSE(frame.error().text.empty());
  }
};

TEST_F(HostileWriter, WithATailBeyondTheRingIsMalformed) {
  for (const std::uint64_t tail :
       {lane::capacity_min + 8, std::size_t{1} << 40U, ~std::size_t{7}, ~std::size_t{0}}) {
    HostileLane lane;
    ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
    lane.page().tail.store(tail);
    expect_malformed(lane.reader, "a tail beyond head + capacity");
  }
}

TEST_F(HostileWriter, WithATailThatGoesBackIsMalformed) {
  HostileLane lane{{.id = 7, .base = 4096}};
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());
  lane.page().tail.store(4096);
  expect_malformed(lane.reader, "a tail before the head");
}

TEST_F(HostileWriter, WithATailInsideAFrameIsMalformed) {
  for (const std::uint64_t tail : {8U, 24U, 32U, 128U}) {
    HostileLane lane;
    ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
    ASSERT_LT(tail, lane.writer.tail());
    lane.page().tail.store(tail);
    expect_malformed(lane.reader, "a frame that ends behind the tail");
  }
}

TEST_F(HostileWriter, WithACrookedTailIsMalformed) {
  HostileLane lane;
  lane.page().tail.store(5);
  expect_malformed(lane.reader, "a tail that is not aligned, and has no header before it");
}

TEST_F(HostileWriter, WithAGenuineFrameInAnotherPlaceIsMalformed) {
  HostileLane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  ASSERT_TRUE(send(lane.writer, pattern(2, 100), numbered(2)));
  std::memcpy(lane.ring(0), lane.ring(lane::frame_bytes(100)), lane::frame_bytes(100));
  expect_malformed(lane.reader, "the offset is not the frame's place");
}

TEST_F(HostileWriter, WithALastRoundsFrameIsMalformed) {
  HostileLane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  const auto old = lane.header(0);
  std::vector<std::byte> buffer;
  lane.reader.acknowledge(lane.reader.peek(buffer).value());
  lane.put(lane.reader.head(), old);
  lane.page().tail.store(2 * lane::frame_bytes(100));
  expect_malformed(lane.reader, "stale bytes published as a frame");
}

TEST_F(HostileWriter, WithAGenuineHeaderOfATooLongFrameIsMalformed) {
  // A larger lane of the same id makes a header with a right check and a length that this lane does not
  // allow.
  for (const std::size_t bytes :
       {lane::capacity_min / lane::frame_share - sizeof(lane::FrameHeader) + 1, lane::capacity_min / 2}) {
    HostileLane large{{.id = 7, .capacity = 4 * lane::capacity_min}};
    ASSERT_TRUE(send(large.writer, pattern(1, bytes), numbered(1)));
    HostileLane lane;
    ASSERT_LT(lane.writer.payload_bytes_max(), bytes);
    lane.put(0, large.header(0));
    lane.page().tail.store(lane::capacity_min);
    expect_malformed(lane.reader, "longer than a quarter of the lane");
  }
}

TEST_F(HostileWriter, WithAnImpossibleLengthIsMalformed) {
  for (const std::uint32_t length : {101U, 2048U, 0x7FFF'FFFFU, 0xFFFF'FFE0U, 0xFFFF'FFFFU}) {
    HostileLane lane;
    ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
    auto header = lane.header(0);
    header.length = length;
    lane.put(0, header);
    expect_malformed(lane.reader, "length");
  }
}

TEST_F(HostileWriter, WithAnyFlippedBitInAHeaderIsMalformed) {
  for (std::size_t bit = 0; bit < 8 * sizeof(lane::FrameHeader); ++bit) {
    HostileLane lane;
    ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
    *lane.ring(bit / 8) ^= std::byte{1} << (bit % 8);
    expect_malformed(lane.reader, ("bit " + std::to_string(bit)).c_str());
  }
}

TEST_F(HostileWriter, WithAFrameOfAnotherLaneIsMalformed) {
  HostileLane other{{.id = 8}};
  ASSERT_TRUE(send(other.writer, pattern(1, 100), numbered(1)));
  HostileLane lane{{.id = 7}};
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  lane.put(0, other.header(0));
  expect_malformed(lane.reader, "the check covers the lane's id");
}

TEST_F(HostileWriter, WithAHeaderPageOfAnotherLaneIsNotAccepted) {
  const LaneSpec spec{.id = 7, .capacity = lane::capacity_min, .base = 64};
  const auto damaged = [&](auto damage) {
    const auto file = test::new_writer_file(spec);
    const auto map =
        MemoryMap::create_ring(file.get(), lane::page_bytes, spec.capacity, Access::read_write).value();
    const auto writer = LaneWriter::create(file.get(), spec).value();
    damage(*reinterpret_cast<lane::WriterPage*>(map.data()));
    const auto words_file = test::new_reader_file(1, spec.base);
    const auto words = ReaderFile::create(words_file.get(), 1).value();
    const auto reader = LaneReader::create(file.get(), spec, words.slot(0), -1);
    return reader ? "accepted" : std::string{to_string(reader.error().kind)};
  };
  EXPECT_EQ(damaged([](lane::WriterPage&) {}), "accepted");
  EXPECT_EQ(damaged([](lane::WriterPage& page) { page.magic ^= 1U; }), "malformed");
  EXPECT_EQ(damaged([](lane::WriterPage& page) { page.version += 1; }), "malformed");
  EXPECT_EQ(damaged([](lane::WriterPage& page) { page.id = 8; }), "malformed");
  EXPECT_EQ(damaged([](lane::WriterPage& page) { page.capacity *= 2; }), "malformed");
  EXPECT_EQ(damaged([](lane::WriterPage& page) { page.base = 128; }), "malformed");
}

TEST_F(HostileWriter, WhoseFileIsNotSealedIsRefused) {
  const LaneSpec spec{.id = 7};
  const auto words_file = test::new_reader_file(1);
  const auto words = ReaderFile::create(words_file.get(), 1).value();
  const auto genuine = test::new_writer_file(spec);
  const auto writer = LaneWriter::create(genuine.get(), spec).value();
  std::vector<std::byte> bytes(lane::writer_file_bytes(spec.capacity));
  ASSERT_EQ(::pread(genuine.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));

  const auto forged = [&](std::size_t size, int seals) {
    const auto file = create_memory("forged", size).value();
    if (::pwrite(file.get(), bytes.data(), std::min(size, bytes.size()), 0) <= 0)
      throw Failure{{ErrorKind::system, 0, "pwrite"}};
    if (::fcntl(file.get(), F_ADD_SEALS, seals) != 0) throw Failure{{ErrorKind::system, 0, "seals"}};
    const auto reader = LaneReader::create(file.get(), spec, words.slot(0), -1);
    return reader ? "accepted" : std::string{to_string(reader.error().kind)};
  };
  constexpr int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  EXPECT_EQ(forged(bytes.size(), all), "accepted");
  EXPECT_EQ(forged(bytes.size(), 0), "refused");
  EXPECT_EQ(forged(bytes.size(), all & ~F_SEAL_SHRINK), "refused");
  EXPECT_EQ(forged(bytes.size(), all & ~F_SEAL_GROW), "refused");
  EXPECT_EQ(forged(bytes.size(), all & ~F_SEAL_FUTURE_WRITE), "refused") << "could be punched";
  EXPECT_EQ(forged(bytes.size(), all & ~F_SEAL_SEAL), "refused");
  EXPECT_EQ(forged(bytes.size() - lane::page_bytes, all), "refused") << "cut";
  EXPECT_EQ(forged(bytes.size() + lane::page_bytes, all), "refused") << "longer than agreed";
}

TEST_F(HostileWriter, CannotTakeTheFileAwayFromItsReader) {
  HostileLane lane;
  EXPECT_NE(::ftruncate(lane.file.get(), 0), 0);
  EXPECT_NE(::fallocate(lane.file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, lane::page_bytes), 0);
  EXPECT_EQ(::madvise(lane.map.data(), lane::page_bytes, MADV_REMOVE), -1);
  ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
  EXPECT_EQ(receive_all(lane.reader).size(), 1U);
}

TEST_F(HostileWriter, WithoutAFileIsAnError) {
  const auto words_file = test::new_reader_file(1);
  const auto words = ReaderFile::create(words_file.get(), 1).value();
  EXPECT_FALSE(LaneReader::create(-1, {.id = 7}, words.slot(0), -1));
  EXPECT_FALSE(LaneReader::create(words_file.get(), {.id = 7}, words.slot(0), -1)) << "not even a P-file";
}

/// Writes rubbish over header, payload and tail for ever, and sometimes a genuine frame, so that readers get
/// further.
[[noreturn]] void scribble(HostileLane& lane, std::span<const std::byte> genuine, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  for (;;) {
    const auto what = random();
    const auto value = what % 3 == 0 ? random() : what % 2048;
    std::memcpy(lane.ring(what / 4096 % 16 * 8), &value, sizeof value);
    if (what % 4 == 0) std::memcpy(lane.ring(0), genuine.data(), genuine.size());
    if (what % 5 == 0) lane.page().tail.store(random(), std::memory_order_relaxed);
    if (what % 5 == 1) lane.page().tail.store(what / 64 % 1024 * 8, std::memory_order_relaxed);
    if (what % 5 >= 2) lane.page().tail.store(genuine.size(), std::memory_order_relaxed);
  }
}

TEST_F(HostileWriter, CannotCrashAReaderByScribbling) {
  HostileLane lane;
  ASSERT_TRUE(send(lane.writer, pattern(1, 500), numbered(1)));
  const std::vector<std::byte> genuine{lane.ring(0), lane.ring(0) + lane.writer.tail()};
  ASSERT_EQ(::madvise(lane.map.data(), lane.map.size(), MADV_DOFORK), 0);  // a hostile sender is a process
  std::size_t refused = 0;
  std::size_t accepted = 0;
  std::vector<std::byte> buffer;
  const test::Forked scribbler{[&]() -> int { scribble(lane, genuine, 4711); }};
  const auto enough = [&] { return refused > 100 && accepted + refused >= 300'000; };  // it may start late
  for (const auto deadline = deadline_in(10s); !enough() && Clock::now() < deadline;) {
    if (!lane.reader.pending()) continue;
    const auto frame = lane.reader.peek(buffer);
    if (!frame) {
      ASSERT_EQ(frame.error().kind, ErrorKind::malformed);
      ++refused;
      continue;
    }
    ++accepted;
    ASSERT_LE(frame->payload.size(), lane.writer.payload_bytes_max());
    ASSERT_EQ(frame->offset, lane.reader.head());
  }
  EXPECT_TRUE(enough());
  std::cout << "scribbler: " << refused << " refused, " << accepted << " accepted\n";
}

TEST_F(HostileWriter, FacesAReaderJustAsHostile) {
  // The C-file's owner can write what it likes; the writer must not be led to send into frames that are in
  // use.
  for (const std::uint64_t head : {std::uint64_t{1} << 40U, ~std::uint64_t{0}, std::uint64_t{0}}) {
    Lane lane{{.id = 7, .base = 4096}};
    ASSERT_TRUE(send(lane.writer, pattern(1, 100), numbered(1)));
    lane.words.slot(0).head.store(head);
    bool malformed = false;
    for (int i = 0; i < 10 && !malformed; ++i) {
      const auto room = lane.writer.reserve(2000);
      if (room && room->empty()) break;
      malformed = !room && room.error().kind == ErrorKind::malformed;
      if (room) lane.writer.publish(numbered(1), 2000);
    }
    EXPECT_TRUE(malformed) << "head " << head;
  }
}

// --- both ends at work

TEST_F(LaneEnds, CarryAMillionMessagesBetweenTwoThreadsThatSleep) {
  constexpr std::uint64_t messages = 1'000'000;
  const auto deadline = deadline_in(100s);
  Lane lane;
  std::atomic<std::uint64_t> parked{0};
  std::thread sender{[&] {
    auto bell = BellWaiter::create(lane.credit_bell.get()).value();
    std::uint64_t payload[2] = {};
    for (std::uint64_t n = 1; n <= messages && Clock::now() < deadline;) {
      payload[0] = n;
      payload[1] = ~n;
      const auto bytes = std::as_bytes(std::span{payload});
      if (send(lane.writer, bytes, numbered(n))) {
        ++n;
        continue;
      }
      lane.writer.announce_wait();
      const bool room = !lane.writer.reserve(bytes.size()).value().empty();
      if (!room) {
        parked.fetch_add(1, std::memory_order_relaxed);
        ASSERT_NE(bell.wait(deadline), BellWaiter::Woken::deadline) << "nobody rang the waiting sender";
      }
      lane.writer.end_wait();
    }
  }};
  auto bell = BellWaiter::create(lane.reader_bell.get()).value();
  std::vector<std::byte> buffer;
  std::uint64_t slept = 0;
  std::uint64_t expected = 1;
  while (expected <= messages) {
    if (!lane.reader.pending()) {
      lane.words.announce_sleep();
      if (!lane.reader.pending()) {
        ++slept;
        if (bell.wait(deadline) == BellWaiter::Woken::deadline) break;
      }
      lane.words.end_sleep();
      continue;
    }
    const auto frame = lane.reader.peek(buffer).value();
    lane.reader.begin_attempt();
    std::uint64_t payload[2] = {};
    ASSERT_EQ(frame.payload.size(), sizeof payload);
    std::memcpy(payload, frame.payload.data(), sizeof payload);
    ASSERT_EQ(payload[0], expected);
    ASSERT_EQ(payload[1], ~expected);
    ++expected;
    lane.reader.acknowledge(frame);
    lane.reader.settle();
  }
  sender.join();
  EXPECT_EQ(expected, messages + 1) << "messages are missing";
  EXPECT_GT(slept + parked.load(), 0U);
  std::cout << "two threads: " << expected - 1 << " messages, reader slept " << slept
            << " times, sender parked " << parked << " times\n";
}

}  // namespace
}  // namespace troupe
