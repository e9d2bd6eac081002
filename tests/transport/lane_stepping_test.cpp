// SPDX-License-Identifier: MIT
// Every instruction of sending and of receiving: looked at from outside, and died at. How that goes is told
// in tests/support/transport/stepping_cases.hpp.

#include <array>
#include <cstring>
#include <troupe/transport/lane.hpp>

#include "transport/fresh_ends.hpp"
#include "transport/stepping_cases.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Fault;
using test::Files;
using test::FreshReader;
using test::FreshWriter;
using test::Journal;
using test::kill_at_each;
using test::making;
using test::mark;
using test::pattern;
using test::receive_all;
using test::Scenario;
using test::step_through;
using test::Verdict;
using test::write;

constexpr std::size_t slots = FreshReader::slots;
constexpr std::size_t messages = 3;

// --- three sends

/// 8 B, 200 B and 1 KiB; the third runs over the ring's end. The reader sleeps, so the first one rings.
class ThreeSends : public Scenario {
 public:
  enum class By { library, hand, hand_and_tail_first };
  explicit ThreeSends(By by = By::library) : by_{by} {
    if (by == By::library) return;
    const auto file = test::new_writer_file(spec_);
    const auto map = map_ring(file.get());
    auto writer = LaneWriter::create(file.get(), spec_).value();
    for (std::size_t i = 0; i < messages; ++i) {
      const auto begin = writer.tail();
      if (!test::send(writer, payloads_[i], info(i))) throw Failure{{ErrorKind::full, 0, "no room"}};
      frames_[i].assign(place(map, begin), place(map, begin) + (writer.tail() - begin));
    }
  }

  void run() override {
    const auto map =
        by_ == By::library ? MemoryMap{} : map_ring(writer_file_.get());  // before the file is sealed
    auto writer = LaneWriter::create(writer_file_.get(), spec_).value();
    const auto view = test::view_of(reader_file_.get(), slots);
    writer.attach_reader(view, bell.get());
    auto tail = spec_.base;
    mark();
    for (std::size_t i = 0; i < messages; ++i) {
      if (by_ == By::library) {
        if (!test::send(writer, payloads_[i], info(i))) break;
      } else {
        send_by_hand(map, frames_[i], tail, *view);
      }
      write(journal().sent, i + 1);
    }
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], spec_};
    auto received = receive_all(fresh.reader);
    const auto arrived = received.size();
    if (arrived < journal.sent) return {.fault = Fault::lost, .text = "published, and not there"};
    if (arrived > std::min(journal.sent + 1, messages))
      return {.fault = Fault::twice, .text = "there, and not yet sent"};
    const bool unrung = arrived > 0 && !is_rung();
    if (unrung && journal.sent > 0)
      return {.fault = Fault::stuck, .text = "the sender has returned, and nobody woke the reader"};

    FreshWriter next{fresh, bell.get()};
    for (std::size_t i = arrived; i < messages; ++i) {
      if (!test::send(next.writer, payloads_[i], info(i)))
        return {.fault = Fault::stuck, .text = "no room in a fresh lane"};
    }
    fresh.replace_lane(next.file.get(), next.spec);
    for (auto& more : receive_all(fresh.reader)) received.push_back(std::move(more));
    if (received.size() != messages)
      return {.fault = Fault::lost, .text = "the next incarnation could not go on"};
    for (std::size_t i = 0; i < messages; ++i) {
      if (received[i].payload != payloads_[i] || received[i].info.sequence != i + 1)
        return {.fault = Fault::torn, .text = "other bytes arrived"};
    }
    return {.unrung = unrung};
  }

 private:
  static FrameInfo info(std::size_t i) { return {.type = 7, .sequence = i + 1}; }
  [[nodiscard]] MemoryMap map_ring(int file) const {
    return MemoryMap::create_ring(file, lane::page_bytes, spec_.capacity, Access::read_write).value();
  }
  [[nodiscard]] std::byte* place(const MemoryMap& map, std::uint64_t offset) const {
    return map.data() + lane::page_bytes + offset % spec_.capacity;
  }
  void send_by_hand(const MemoryMap& map, const std::vector<std::byte>& frame, std::uint64_t& tail,
                    const ReaderView& view) const {
    auto& page = *reinterpret_cast<lane::WriterPage*>(map.data());
    auto* const at = place(map, tail);
    tail += frame.size();
    if (by_ == By::hand_and_tail_first) page.tail.store(tail);
    std::memcpy(at, frame.data(), frame.size());
    if (by_ == By::hand) page.tail.store(tail);
    if (view.page().asleep.load() % 2 != 0) ring(bell.get());
  }

  By by_;
  std::array<std::vector<std::byte>, messages> payloads_{pattern(1, 8), pattern(2, 200), pattern(3, 1024)};
  std::array<std::vector<std::byte>, messages> frames_{};
  LaneSpec spec_{.id = 7,
                 .base = 3 * lane::capacity_min - lane::frame_bytes(8) - lane::frame_bytes(200) - 504};
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd reader_file_ = test::new_reader_file(slots, spec_.base);
  ReaderFile words_ = [this] {
    auto words = ReaderFile::create(reader_file_.get(), slots).value();
    words.announce_sleep();
    return words;
  }();
};

// --- three receives

/// Attempt, handler, acknowledge and settle, of 8 B and twice 1 KiB (over the ring's end) out of a full lane
/// whose sender waits.
class ThreeReceives : public Scenario {
 public:
  enum class Acknowledge { after_the_handler, before_the_handler };
  explicit ThreeReceives(Acknowledge when = Acknowledge::after_the_handler) : when_{when} {
    while (test::send(writer_, payload(sent_), {.type = 7, .sequence = sent_ + 1})) ++sent_;
    writer_.announce_wait();
  }

  void run() override {
    auto words = ReaderFile::create(reader_file_.get(), slots).value();
    auto reader = LaneReader::create(writer_file_.get(), spec_, words.slot(0), bell.get()).value();
    std::vector<std::byte> buffer;
    buffer.reserve(spec_.capacity);
    mark();
    for (std::size_t i = 0; i < messages && reader.pending(); ++i) {
      const auto frame = reader.peek(buffer).value();
      reader.begin_attempt();
      if (when_ == Acknowledge::before_the_handler) reader.acknowledge(frame);
      write(journal().handled[i], journal().handled[i] + 1);
      if (when_ == Acknowledge::after_the_handler) reader.acknowledge(frame);
      reader.settle();
    }
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], spec_};
    std::vector<std::uint64_t> effects(sent_, 0);
    for (std::size_t i = 0; i < messages; ++i) effects[i] = journal.handled[i];
    Verdict verdict;
    std::vector<std::byte> buffer;
    while (fresh.reader.pending()) {
      const auto frame = fresh.reader.peek(buffer).value();
      const auto index = frame.info.sequence - 1;
      if (index >= sent_ || buffer != payload(index))
        return {.fault = Fault::torn, .text = "other bytes arrived"};
      const auto attempts = fresh.reader.begin_attempt();
      if (effects[index] != 0) {
        if (verdict.redelivered) return {.fault = Fault::twice, .text = "two messages are offered again"};
        if (attempts < 2) return {.fault = Fault::twice, .text = "offered again as if for the first time"};
        verdict.redelivered = true;
      }
      ++effects[index];
      fresh.reader.acknowledge(frame);
    }
    fresh.reader.settle();
    for (const auto effect : effects) {
      if (effect == 0) return {.fault = Fault::lost, .text = "acknowledged, and never handled"};
      if (effect > 2) return {.fault = Fault::twice, .text = "handled three times"};
    }
    if (!test::was_rung(fresh.credit_bell.get()))
      return {.fault = Fault::stuck, .text = "nobody tells the waiting sender"};
    return go_on(files, fresh) ? verdict : Verdict{.fault = Fault::stuck, .text = "the sender cannot go on"};
  }

 private:
  /// The sender itself has lived on, so it can be asked wherever the files are its own.
  [[nodiscard]] bool go_on(Files files, FreshReader& fresh) const {
    if (files[0] != writer_file_.get()) return true;
    writer_.end_wait();
    writer_.attach_reader(test::view_of(fresh.file.get(), slots), -1);
    return test::send(writer_, pattern(99, 500), {.type = 7}) && receive_all(fresh.reader).size() == 1 &&
           writer_.drained();
  }
  static std::vector<std::byte> payload(std::uint64_t index) { return pattern(index, index == 0 ? 8 : 1024); }

  Acknowledge when_;
  LaneSpec spec_{.id = 7, .base = 5 * lane::capacity_min - 600};
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd reader_file_ = test::new_reader_file(slots, spec_.base);
  mutable LaneWriter writer_ = LaneWriter::create(writer_file_.get(), spec_).value();
  std::uint64_t sent_ = 0;
};

// --- the tests

class LaneStepping : public test::SteppingTest {};

TEST_F(LaneStepping, ThreeSendsAreEachSentOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("three sends", making<ThreeSends>());
}

TEST_F(LaneStepping, ThreeReceivesLoseNothingAndRepeatAtMostOneAtEveryInstruction) {
  expect_sound_in_both_forms("three receives", making<ThreeReceives>());
}

TEST_F(LaneStepping, ASendByHandInTheRightOrderIsSoundToo) {
  const auto tally = step_through(making<ThreeSends>(ThreeSends::By::hand));
  tally.print("looked at", "three sends by hand");
  expect_sound(tally);
}

TEST_F(LaneStepping, CatchesASendThatPublishesBeforeThePayload) {
  expect_caught("tail before payload", making<ThreeSends>(ThreeSends::By::hand_and_tail_first), Fault::torn);
}

TEST_F(LaneStepping, CatchesAnAcknowledgeBeforeTheHandler) {
  expect_caught("acknowledge before handler",
                making<ThreeReceives>(ThreeReceives::Acknowledge::before_the_handler), Fault::lost);
}

TEST_F(LaneStepping, CatchesMutantsWhenTheyAreReallyKilledToo) {
  const auto tally =
      kill_at_each(making<ThreeSends>(ThreeSends::By::hand_and_tail_first), test::step_stride(1));
  tally.print("killed at", "mutant: tail before payload");
  EXPECT_GT(tally.of(Fault::torn), 0U);
}

}  // namespace
}  // namespace troupe
