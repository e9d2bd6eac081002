// SPDX-License-Identifier: MIT
// Every instruction of committing kept state, and of an actor that handles, commits, answers and
// acknowledges. See tests/support/transport/stepping_cases.hpp.

#include <array>
#include <cstring>
#include <troupe/transport/kept_file.hpp>
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
constexpr std::size_t kept_bytes = 4096;
constexpr std::size_t messages = 3;

// --- a commit

class KeptCommit : public Scenario {
 public:
  enum class Into { the_other_slot, the_committed_one };
  explicit KeptCommit(std::size_t bytes, Into into = Into::the_other_slot)
      : into_{into}, old_{pattern(1, bytes)}, new_{pattern(2, bytes)} {
    std::copy(new_.begin(), new_.end(), source_.begin());
    auto kept = KeptFile::create(file_.get(), kept_bytes).value();
    std::copy(old_.begin(), old_.end(), kept.next().begin());
    kept.commit(old_.size());
  }

  void run() override {
    auto kept = KeptFile::create(file_.get(), kept_bytes).value();
    mark();
    auto* const room =
        into_ == Into::the_other_slot ? kept.next().data() : const_cast<std::byte*>(kept.committed().data());
    std::memcpy(room, source_.data(), new_.size());
    kept.commit(new_.size());
    write(journal().committed, 1);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override { return {file_.get()}; }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    auto kept = KeptFile::create(files[0], kept_bytes).value();
    const std::vector<std::byte> found{kept.committed().begin(), kept.committed().end()};
    const bool is_new = kept.version() == 2;
    if (found != (is_new ? new_ : old_))
      return {.fault = Fault::torn, .text = "neither the old state nor the new one"};
    if (!is_new && journal.committed != 0) return {.fault = Fault::lost, .text = "committed, and not there"};
    const auto more = pattern(3, 100);
    std::copy(more.begin(), more.end(), kept.next().begin());
    kept.commit(more.size());
    if (!std::equal(more.begin(), more.end(), kept.committed().begin(), kept.committed().end())) {
      return {.fault = Fault::stuck, .text = "the next incarnation cannot commit"};
    }
    return {};
  }

 private:
  alignas(lane::page_bytes)
      std::array<std::byte, kept_bytes> source_{};  // memcpy goes by addresses: each run the same way
  Into into_;
  std::vector<std::byte> old_;
  std::vector<std::byte> new_;
  OwnedFd file_ = create_memory("test-kept", KeptFile::file_bytes(kept_bytes)).value();
};

// --- all of it: handle, commit a state that holds what is to be sent, send it, acknowledge

/// Three messages to an actor that keeps a sum and answers each with two numbered frames to somebody else.
class StatefulActor : public Scenario {
 public:
  enum class Protocol { whole, two_commits, acknowledge_first, no_replay, no_marks };
  explicit StatefulActor(Protocol protocol = Protocol::whole) : protocol_{protocol} {
    for (std::uint64_t i = 0; i < messages; ++i) {
      const std::uint64_t value = value_of(i);
      if (!test::send(in_writer_, std::as_bytes(std::span{&value, 1}), {.type = 7, .sequence = i + 1}))
        throw Failure{{ErrorKind::full, 0, ""}};
    }
  }

  void run() override {
    auto words = ReaderFile::create(in_reader_file_.get(), slots).value();
    auto in = LaneReader::create(in_writer_file_.get(), in_spec_, words.slot(0), bell.get()).value();
    auto kept = KeptFile::create(kept_file_.get(), kept_bytes).value();
    auto place = KeptFile::create(place_file_.get(), kept_bytes).value();
    auto out = LaneWriter::create(out_writer_file_.get(), out_spec_).value();
    out.attach_reader(test::view_of(out_reader_file_.get(), slots), bell.get());
    std::vector<std::byte> buffer;
    buffer.reserve(in_spec_.capacity);
    mark();
    while (in.pending()) turn(in, kept, place, out, buffer);
    mark();
  }

  [[nodiscard]] std::vector<int> files() const override {
    return {in_writer_file_.get(), in_reader_file_.get(),  kept_file_.get(),
            place_file_.get(),     out_writer_file_.get(), out_reader_file_.get()};
  }

  [[nodiscard]] Verdict judge(Files files, const Journal&) const override {
    // The next receiver first takes what the dead actor had sent, then attaches to the next actor's lane.
    FreshReader out{files[4], files[5], out_spec_};
    std::vector<Answer> accepted;
    take(out.reader, accepted);
    FreshWriter out_next{out, bell.get()};

    FreshReader in{files[0], files[1], in_spec_};
    auto kept = KeptFile::create(files[2], kept_bytes).value();
    auto place = KeptFile::create(files[3], kept_bytes).value();
    in.reader.resume_at(load<Place>(protocol_ == Protocol::two_commits ? place : kept).consumed);
    if (protocol_ != Protocol::no_replay) send_answers(load<State>(kept), out_next.writer);
    std::vector<std::byte> buffer;
    while (in.reader.pending()) turn(in.reader, kept, place, out_next.writer, buffer);

    out.replace_lane(out_next.file.get(), out_next.spec);
    take(out.reader, accepted);
    return compare(load<State>(kept), accepted);
  }

 private:
  struct Answer {
    std::uint64_t number = 0;
    std::uint64_t sum = 0;
  };
  struct Place {
    std::uint64_t consumed = 0;
  };
  struct State : Place {
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    std::array<Answer, 2> outbox{};
  };

  static std::uint64_t value_of(std::uint64_t index) { return 1000 + index * index; }

  template <class T>
  static T load(const KeptFile& kept) {
    T value{};
    std::memcpy(static_cast<void*>(&value), kept.committed().data(),
                std::min(kept.committed().size(), sizeof value));
    return value;
  }
  template <class T>
  static void commit(KeptFile& kept, const T& value) {
    std::memcpy(kept.next().data(), &value, sizeof value);
    kept.commit(sizeof value);
  }

  static void send_answers(const State& state, LaneWriter& out) {
    for (const auto& answer : state.outbox) {
      if (answer.number == 0) continue;
      if (!test::send(out, std::as_bytes(std::span{&answer, 1}), {.type = 8, .sequence = answer.number})) {
        throw Failure{{ErrorKind::full, 0, "no room for an answer"}};
      }
    }
  }

  /// One message of the actor's life, as its loop would have it.
  void turn(LaneReader& in, KeptFile& kept, KeptFile& place, LaneWriter& out,
            std::vector<std::byte>& buffer) const {
    const auto frame = in.peek(buffer).value();
    in.begin_attempt();
    if (protocol_ == Protocol::acknowledge_first) in.acknowledge(frame);

    auto state = load<State>(kept);
    std::uint64_t value = 0;
    std::memcpy(&value, frame.payload.data(), sizeof value);
    state.count += 1;
    state.sum += value;
    state.consumed = frame.offset + lane::frame_bytes(frame.payload.size());
    state.outbox = {Answer{2 * state.count - 1, state.sum}, Answer{2 * state.count, state.sum}};

    commit(kept, state);
    if (protocol_ == Protocol::two_commits) commit(place, Place{state.consumed});
    send_answers(state, out);
    if (protocol_ != Protocol::acknowledge_first) in.acknowledge(frame);
    in.settle();
  }

  /// A receiver drops what it has had. Without marks it does not.
  void take(LaneReader& reader, std::vector<Answer>& accepted) const {
    for (const auto& received : receive_all(reader)) {
      const auto mark = accepted.empty() ? 0 : accepted.back().number;
      if (received.info.sequence <= mark && protocol_ != Protocol::no_marks) continue;
      Answer answer;
      if (received.payload.size() != sizeof answer)
        throw Failure{{ErrorKind::malformed, 0, "an answer of another size"}};
      std::memcpy(&answer, received.payload.data(), sizeof answer);
      accepted.push_back(answer);
    }
  }

  static Verdict compare(const State& state, const std::vector<Answer>& accepted) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < messages; ++i) sum += value_of(i);
    if (state.count > messages || state.sum > sum)
      return {.fault = Fault::twice, .text = "the state has taken a message in twice"};
    if (state.count < messages || state.sum < sum)
      return {.fault = Fault::lost, .text = "the state lacks a message"};
    if (accepted.size() > 2 * messages) return {.fault = Fault::twice, .text = "an answer has arrived twice"};
    if (accepted.size() < 2 * messages) return {.fault = Fault::lost, .text = "an answer is missing"};
    sum = 0;
    for (std::uint64_t i = 0; i < accepted.size(); ++i) {
      if (i % 2 == 0) sum += value_of(i / 2);
      if (accepted[i].number != i + 1 || accepted[i].sum != sum)
        return {.fault = Fault::torn, .text = "an answer says something else"};
    }
    return {};
  }

  Protocol protocol_;
  LaneSpec in_spec_{.id = 7};
  LaneSpec out_spec_{.id = 70,
                     .base = 9 * lane::capacity_min - 72};  // the second answer runs over the ring's end
  OwnedFd in_writer_file_ = test::new_writer_file(in_spec_);
  OwnedFd in_reader_file_ = test::new_reader_file(slots);
  OwnedFd out_writer_file_ = test::new_writer_file(out_spec_);
  OwnedFd out_reader_file_ = test::new_reader_file(slots, out_spec_.base);
  OwnedFd kept_file_ = create_memory("test-kept", KeptFile::file_bytes(kept_bytes)).value();
  OwnedFd place_file_ = create_memory("test-place", KeptFile::file_bytes(kept_bytes)).value();
  LaneWriter in_writer_ = LaneWriter::create(in_writer_file_.get(), in_spec_).value();
  ReaderFile out_words_ = ReaderFile::create(out_reader_file_.get(), slots).value();
};

// --- the tests

class KeptStepping : public test::SteppingTest {};

TEST_F(KeptStepping, ACommitOf64BytesIsThereOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a commit of 64 B", making<KeptCommit>(std::size_t{64}));
}

TEST_F(KeptStepping, ACommitOf3000BytesIsThereOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("a commit of 3000 B", making<KeptCommit>(std::size_t{3000}), 7);
}

TEST_F(KeptStepping, AStatefulActorHandlesAndAnswersExactlyOnceAtEveryInstruction) {
  expect_sound_in_both_forms("handle, commit, send, acknowledge", making<StatefulActor>());
}

TEST_F(KeptStepping, CatchesACommitOverTheCommittedBytes) {
  expect_caught("commit in place", making<KeptCommit>(std::size_t{64}, KeptCommit::Into::the_committed_one),
                Fault::torn);
}

TEST_F(KeptStepping, CatchesStateAndPlaceCommittedOneAfterTheOther) {
  expect_caught("two commits", making<StatefulActor>(StatefulActor::Protocol::two_commits), Fault::twice);
}

TEST_F(KeptStepping, CatchesAnAcknowledgeBeforeTheCommit) {
  expect_caught("acknowledge before commit",
                making<StatefulActor>(StatefulActor::Protocol::acknowledge_first), Fault::lost);
}

TEST_F(KeptStepping, CatchesAnOutboxThatIsNotReplayed) {
  expect_caught("outbox not replayed", making<StatefulActor>(StatefulActor::Protocol::no_replay),
                Fault::lost);
}

TEST_F(KeptStepping, CatchesAReceiverWithoutMarks) {
  expect_caught("no marks at the receiver", making<StatefulActor>(StatefulActor::Protocol::no_marks),
                Fault::twice);
}

}  // namespace
}  // namespace troupe
