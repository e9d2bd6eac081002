// SPDX-License-Identifier: MIT
// Every instruction of making a lane, of attaching to a new reader, and of going on where a dead sender or a
// dead reader has left off: looked at from outside, and died at. See
// tests/support/transport/stepping_cases.hpp.
//
// A maker's part is played here as a keeper plays it: a lane is told of once its sender has said that it is
// made.

#include <algorithm>
#include <array>
#include <troupe/transport/lane.hpp>

#include "transport/fresh_ends.hpp"
#include "transport/stepping_cases.hpp"

namespace troupe {
namespace {

using test::Fault;
using test::Files;
using test::FreshReader;
using test::FreshWriter;
using test::Journal;
using test::making;
using test::mark;
using test::pattern;
using test::receive_all;
using test::Received;
using test::Scenario;
using test::Verdict;
using test::write;

constexpr std::size_t slots = FreshReader::slots;

std::vector<std::byte> payload(std::uint64_t number) { return pattern(number, number * 150); }

bool send(LaneWriter& writer, std::uint64_t number) {
  return test::send(writer, payload(number), {.type = 7, .sequence = number});
}

/// Sends `first` to `last` and gives back the file; its sender is dead.
OwnedFd written_lane(const LaneSpec& spec, std::uint64_t first, std::uint64_t last) {
  auto file = test::new_writer_file(spec);
  auto writer = LaneWriter::create(file.get(), spec).value();
  for (auto number = first; number <= last; ++number)
    if (!send(writer, number)) throw Failure{{ErrorKind::full, 0, "no room"}};
  return file;
}

/// What a receiver has of 1 to `all`, once the next sender has sent what is missing.
Verdict complete(FreshReader& fresh, std::vector<Received> received, std::uint64_t all, int bell) {
  FreshWriter next{fresh, bell};
  for (auto number = received.size() + 1; number <= all; ++number)
    if (!send(next.writer, number)) return {.fault = Fault::stuck, .text = "no room in a fresh lane"};
  fresh.replace_lane(next.file.get(), next.spec);
  for (auto& more : receive_all(fresh.reader)) received.push_back(std::move(more));
  if (received.size() < all) return {.fault = Fault::lost, .text = "a message is missing"};
  if (received.size() > all) return {.fault = Fault::twice, .text = "a message is there twice"};
  for (std::uint64_t number = 1; number <= all; ++number) {
    const auto& one = received[number - 1];
    if (one.info.sequence != number || one.payload != payload(number))
      return {.fault = Fault::torn, .text = "other bytes, or another order"};
  }
  return {};
}

// --- a lane is made

/// A P-file becomes a lane, which is announced and carries a first frame.
class LaneIsMade : public Scenario {
 public:
  enum class Announced { when_made, before };
  explicit LaneIsMade(Announced when = Announced::when_made) : when_{when} {}

  void run() override {
    mark();
    if (when_ == Announced::before) write(journal().steps, 1);
    auto writer = LaneWriter::create(writer_file_.get(), spec_).value();
    write(journal().steps, 1);
    if (send(writer, 1)) write(journal().sent, 1);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    if (journal.steps == 0) return never_announced(files);
    FreshReader fresh{files[0], files[1], spec_};
    auto received = receive_all(fresh.reader);
    if (received.size() < journal.sent) return {.fault = Fault::lost, .text = "published, and not there"};
    return complete(fresh, std::move(received), 2, bell.get());
  }

 private:
  /// The maker drops it and makes another in its place; whoever looked at it all the same found nothing in
  /// it.
  [[nodiscard]] Verdict never_announced(Files files) const {
    lane::ReaderSlot slot{};
    slot.head = spec_.base;
    if (const auto early = LaneReader::create(files[0], spec_, slot, -1); early && early->pending())
      return {.fault = Fault::torn, .text = "a frame in a lane that is still being made"};
    const auto other = written_lane(spec_, 1, 0);
    FreshReader fresh{other.get(), files[1], spec_};
    return complete(fresh, {}, 2, bell.get());
  }

  Announced when_;
  LaneSpec spec_{.id = 7, .base = 3 * lane::capacity_min - 64};  // the first frame runs over the ring's end
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd reader_file_ = test::new_reader_file(slots, spec_.base);
};

// --- a reader is attached

/// The sender learns of its reader's next incarnation, which sleeps already, while a frame waits; then it
/// sends one more.
class ReaderIsAttached : public Scenario {
 public:
  enum class Rings { yes, no };
  explicit ReaderIsAttached(Rings rings = Rings::yes) : rings_{rings} {
    words_.announce_sleep();
    journal().sent = 1;
  }

  void run() override {
    auto writer = LaneWriter::create(writer_file_.get(), spec_).value();
    writer.attach_reader(test::view_of(old_file_.get(), slots, ReaderView::Seals::not_yet), old_bell_.get());
    if (!send(writer, 1)) return;
    mark();
    const auto view = test::view_of(reader_file_.get(), slots);
    writer.attach_reader(view, rings_ == Rings::yes ? bell.get() : old_bell_.get());
    write(journal().steps, 1);
    if (send(writer, 2)) write(journal().sent, 2);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {writer_file_.get(), reader_file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], spec_};
    auto received = receive_all(fresh.reader);
    if (received.size() < journal.sent) return {.fault = Fault::lost, .text = "published, and not there"};
    const bool unrung = !is_rung();
    if (unrung && journal.steps > 0)
      return {.fault = Fault::stuck, .text = "attached, and nobody woke the reader"};
    auto verdict = complete(fresh, std::move(received), 3, bell.get());
    verdict.unrung = unrung;
    return verdict;
  }

 private:
  Rings rings_;
  LaneSpec spec_{.id = 7};
  OwnedFd writer_file_ = test::new_writer_file(spec_);
  OwnedFd old_file_ = test::new_reader_file(slots);
  OwnedFd old_bell_ = create_bell().value();
  OwnedFd reader_file_ = test::next_reader_file(old_file_.get(), slots);
  ReaderFile words_ = ReaderFile::create(reader_file_.get(), slots).value();
};

// --- the sender's next epoch

/// A sender has died with two frames on their way. Its successor makes the next epoch's lane, attaches and
/// sends.
class SenderGoesOn : public Scenario {
 public:
  void run() override {
    const auto view = test::view_of(reader_file_.get(), slots);
    mark();
    auto writer = LaneWriter::create(next_file_.get(), next_).value();
    write(journal().steps, 1);
    writer.attach_reader(view, bell.get());
    if (send(writer, 3)) write(journal().sent, 3);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override {
    return {last_file_.get(), reader_file_.get(), next_file_.get()};
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], last_};
    auto received = receive_all(fresh.reader);
    if (received.size() != 2) return {.fault = Fault::lost, .text = "the last epoch is not what it was"};
    if (journal.steps > 0) {
      auto reader = LaneReader::create(files[2], next_, fresh.words.slot(next_.slot), -1).value();
      for (auto& more : receive_all(reader)) received.push_back(std::move(more));
    }
    if (received.size() < journal.sent) return {.fault = Fault::lost, .text = "published, and not there"};
    return complete(fresh, std::move(received), 4, bell.get());
  }

 private:
  LaneSpec last_{.id = 7};
  LaneSpec next_{.id = 8, .slot = 1};
  OwnedFd last_file_ = written_lane(last_, 1, 2);
  OwnedFd next_file_ = test::new_writer_file(next_);
  OwnedFd reader_file_ = test::new_reader_file(slots);
  ReaderFile words_ = ReaderFile::create(reader_file_.get(), slots).value();
};

// --- the reader's next file

/// A reader has died with the second message in hand, and two epochs behind it. Its successor maps its own
/// file, made from the old heads, and takes all of both.
class ReaderGoesOn : public Scenario {
 public:
  enum class Heads { old, none };
  explicit ReaderGoesOn(Heads heads = Heads::old) {
    auto words = ReaderFile::create(old_file_.get(), slots).value();
    auto reader = LaneReader::create(first_file_.get(), first_, words.slot(0), -1).value();
    std::vector<std::byte> buffer;
    const auto frame = reader.peek(buffer).value();
    reader.begin_attempt();
    reader.acknowledge(frame);
    reader.begin_attempt();
    journal().handled = {1, 1};
    reader_file_ =
        heads == Heads::old ? test::next_reader_file(old_file_.get(), slots) : test::new_reader_file(slots);
  }

  void run() override {
    std::vector<std::byte> buffer;
    buffer.reserve(first_.capacity);
    mark();
    auto words = ReaderFile::create(reader_file_.get(), slots).value();
    auto first = LaneReader::create(first_file_.get(), first_, words.slot(0), bell.get()).value();
    auto second = LaneReader::create(second_file_.get(), second_, words.slot(1), bell.get()).value();
    take(first, buffer);
    take(second, buffer);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override {
    return {first_file_.get(), reader_file_.get(), second_file_.get()};
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    FreshReader fresh{files[0], files[1], first_};
    auto second = LaneReader::create(files[2], second_, fresh.words.slot(1), -1).value();
    auto effects = journal.handled;
    Verdict verdict;
    for (LaneReader* const lane : {&fresh.reader, &second})
      if (auto fault = take_and_count(*lane, effects, verdict); fault.fault != Fault::none) return fault;
    if (effects[0] != 1) return {.fault = Fault::twice, .text = "acknowledged, and handled again"};
    for (std::uint64_t i = 0; i < messages; ++i) {
      if (effects[i] == 0) return {.fault = Fault::lost, .text = "acknowledged, and never handled"};
      if (effects[i] > (i == 1 ? 3U : 2U))
        return {.fault = Fault::twice, .text = "once more than there were deaths"};
    }
    return verdict;
  }

 private:
  static constexpr std::uint64_t messages = 4;

  void take(LaneReader& lane, std::vector<std::byte>& buffer) const {
    while (lane.pending()) {
      const auto frame = lane.peek(buffer).value();
      lane.begin_attempt();
      auto& handled = journal().handled.at(frame.info.sequence - 1);
      write(handled, handled + 1);
      lane.acknowledge(frame);
    }
    lane.settle();
  }

  static Verdict take_and_count(LaneReader& lane, decltype(Journal::handled)& effects, Verdict& verdict) {
    std::vector<std::byte> buffer;
    while (lane.pending()) {
      const auto frame = lane.peek(buffer).value();
      const auto index = frame.info.sequence - 1;
      if (index >= messages || buffer != payload(index + 1))
        return {.fault = Fault::torn, .text = "other bytes"};
      const auto attempts = lane.begin_attempt();
      if (effects.at(index) != 0) {
        if (attempts < 2) return {.fault = Fault::twice, .text = "offered again as if for the first time"};
        if (verdict.redelivered) return {.fault = Fault::twice, .text = "two messages are offered again"};
        verdict.redelivered = true;
      }
      ++effects.at(index);
      lane.acknowledge(frame);
    }
    return {};
  }

  LaneSpec first_{.id = 7};
  LaneSpec second_{.id = 8, .slot = 1};
  OwnedFd first_file_ = written_lane(first_, 1, 2);
  OwnedFd second_file_ = written_lane(second_, 3, messages);
  OwnedFd old_file_ = test::new_reader_file(slots);
  OwnedFd reader_file_;
};

// --- the tests

/// Most of these instructions are the library's around a system call: all are looked at, and some killed at.
constexpr std::size_t stride = 7;

class LaneBirthStepping : public test::SteppingTest {};

TEST_F(LaneBirthStepping, ALaneIsMadeOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a lane is made", making<LaneIsMade>(), stride);
}

TEST_F(LaneBirthStepping, ANewReaderIsAttachedToOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a reader is attached", making<ReaderIsAttached>(), stride);
}

TEST_F(LaneBirthStepping, ASendersNextEpochLosesAndRepeatsNothingAtEveryInstruction) {
  expect_sound_in_both_forms("the sender's next epoch", making<SenderGoesOn>(), stride);
}

TEST_F(LaneBirthStepping, AReadersNextFileLosesNothingAndRepeatsOneAtEveryInstruction) {
  expect_sound_in_both_forms("the reader's next file", making<ReaderGoesOn>(), stride);
}

TEST_F(LaneBirthStepping, CatchesALaneThatIsAnnouncedBeforeItIsMade) {
  expect_caught("announced before it is made", making<LaneIsMade>(LaneIsMade::Announced::before),
                Fault::stuck);
}

TEST_F(LaneBirthStepping, CatchesAnAttachThatDoesNotRing) {
  expect_caught("attach without a ring", making<ReaderIsAttached>(ReaderIsAttached::Rings::no), Fault::stuck);
}

TEST_F(LaneBirthStepping, CatchesAReadersFileWithoutTheOldHeads) {
  expect_caught("a file without the old heads", making<ReaderGoesOn>(ReaderGoesOn::Heads::none),
                Fault::twice);
}

}  // namespace
}  // namespace troupe
