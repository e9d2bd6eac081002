// SPDX-License-Identifier: MIT
// Every instruction of putting into a queue, of taking, acknowledging, giving back and giving up, of coming
// to it, and of putting back what a dead end had in hand. See tests/support/transport/stepping_cases.hpp.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/shared_queue.hpp>

#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/stepping_cases.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using detail::QueueAccess;
using detail::QueueFile;
using detail::QueuePass;
using detail::QueueReceiver;
using detail::QueueSender;
using detail::Settlement;
using detail::SharedQueue;
using detail::Taken;
using queue::SlotState;
using test::Fault;
using test::Files;
using test::Journal;
using test::making;
using test::mark;
using test::pattern;
using test::Scenario;
using test::Verdict;
using test::write;

constexpr std::size_t messages = 3;
constexpr std::uint64_t type = 7;

OwnedFd copy_of(int fd) { return OwnedFd{::fcntl(fd, F_DUPFD_CLOEXEC, 3)}; }

/// 8 B, 200 B, 1 KiB and 40 B, told apart by their first byte. Made once: their making is not to be stepped.
const std::array<Bytes, 4> payloads = [] {
  std::array<Bytes, 4> all{pattern(1, 8), pattern(2, 200), pattern(3, 1024), pattern(4, 40)};
  for (std::size_t i = 0; i < all.size(); ++i) all[i][0] = static_cast<std::byte>(i);
  return all;
}();

bool put(QueueSender& out, std::size_t index) {
  Deadline now{Duration::zero()};
  const Bytes& bytes = payloads.at(index);
  const auto room = out.reserve(bytes.size(), now);
  if (!room) return false;
  std::memcpy(room->data(), bytes.data(), bytes.size());
  return out.commit(type, bytes.size(), now).has_value();
}

std::optional<Taken> take(QueueReceiver& in) {
  Deadline now{Duration::zero()};
  auto taken = in.take(now);
  return taken ? std::optional{*taken} : std::nullopt;
}

/// A queue that the test owns and a child works on.
class QueueScenario : public Scenario {
 public:
  explicit QueueScenario(const QueueOptions& options) : owner_{SharedQueue::create(options).value()} {
    descriptors_ = owner_->descriptors().value();
    bell = copy_of(descriptors_.at(1).get());
  }
  [[nodiscard]] std::vector<int> files() const override { return {descriptors_.front().get()}; }

 protected:
  /// As another process holds it: over the real file, or over a copy of it with the real bells.
  [[nodiscard]] std::unique_ptr<SharedQueue> attach(int file) const {
    return SharedQueue::attach(with_bells(file)).value();
  }
  [[nodiscard]] std::unique_ptr<SharedQueue> attach() const { return attach(descriptors_.front().get()); }

  /// What every other end does when it sees that the child is dead. The child is, or is to be judged as if it
  /// were.
  void bury(int file) const {
    const auto words = QueueFile::open(with_bells(file), "judge").value();
    for (std::size_t i = 0; i < words->bounds().ends; ++i) {
      const std::uint64_t word = words->slot(i).state.load();
      const SlotState state = SlotState::of(word);
      if (state.kind != SlotState::Kind::free && state.kind != SlotState::Kind::owner)
        detail::reap(*words, i, word);
    }
  }
  /// And takes all rings away.
  [[nodiscard]] bool room_bell_is_rung() const {
    bool rung = false;
    for (std::size_t i = 2; i < descriptors_.size(); ++i) rung |= test::was_rung(descriptors_[i].get());
    return rung;
  }
  [[nodiscard]] SharedQueue& owner() const { return *owner_; }

 private:
  [[nodiscard]] std::vector<OwnedFd> with_bells(int file) const {
    std::vector<OwnedFd> all;
    all.push_back(copy_of(file));
    for (std::size_t i = 1; i < descriptors_.size(); ++i) all.push_back(copy_of(descriptors_[i].get()));
    return all;
  }
  std::unique_ptr<SharedQueue> owner_;
  std::vector<OwnedFd> descriptors_;
};

/// Which payload that is; none if it is none of ours, whole.
std::optional<std::size_t> index_of(std::span<const std::byte> bytes) {
  const std::size_t i = bytes.empty() ? payloads.size() : std::to_integer<std::size_t>(bytes[0]);
  if (i >= payloads.size() || bytes.size() != payloads[i].size()) return std::nullopt;
  return std::memcmp(bytes.data(), payloads[i].data(), bytes.size()) == 0 ? std::optional{i} : std::nullopt;
}

// --- three puts

/// The lane's ring is short, so payloads run over its end; a receiver has announced that it sleeps.
class ThreePuts : public QueueScenario {
 public:
  ThreePuts() : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 1, .ends_max = 4}} {}

  void run() override {
    const auto queue = attach();
    const auto out = queue->sender().value();
    sleep_announced();
    mark();
    for (std::size_t i = 0; i < messages; ++i) {
      if (!put(*out, i)) break;
      write(journal().sent, i + 1);
    }
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    bury(files[0]);
    const auto queue = attach(files[0]);
    const auto in = queue->receiver().value();
    const std::size_t arrived = queue->size();
    if (arrived < journal.sent) return {.fault = Fault::lost, .text = "put, and not there"};
    if (arrived > journal.sent + 1) return {.fault = Fault::twice, .text = "there, and not yet put"};
    const auto out = queue->sender();
    if (!out)
      return {.fault = Fault::stuck, .text = "the dead sender's lane is not free: " + out.error().text};
    for (std::size_t i = arrived; i < messages; ++i)
      if (!put(**out, i)) return {.fault = Fault::stuck, .text = "the next sender cannot go on"};
    for (std::size_t i = 0; i < messages; ++i) {
      const auto taken = take(*in);
      if (!taken) return {.fault = Fault::lost, .text = "one is missing"};
      if (index_of(taken->bytes) != i || taken->attempt != 1)
        return {.fault = Fault::torn, .text = "other bytes arrived"};
      if (!in->settle(taken->ticket, Settlement::acknowledge))
        return {.fault = Fault::stuck, .text = "it cannot be acknowledged"};
    }
    if (take(*in)) return {.fault = Fault::twice, .text = "one too many"};
    return {};
  }

 private:
  void sleep_announced() const {
    const auto words = QueueFile::open(attach()->descriptors().value(), "child").value();
    words->page().announced.fetch_add(1);
  }
};

// --- three takes

/// Each is acknowledged, but one that is given back once and one that is given up, where the scenario says
/// so.
class ThreeTakes : public QueueScenario {
 public:
  enum class Do { acknowledge, give_back, give_up };
  explicit ThreeTakes(Do what)
      : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 1, .ends_max = 4}}, what_{what} {
    const auto out = owner().sender().value();
    for (std::size_t i = 0; i < messages; ++i)
      if (!put(*out, i)) throw Failure{{ErrorKind::full, 0, "no room"}};
  }

  void run() override {
    const auto queue = attach();
    const auto in = queue->receiver().value();
    mark();
    for (std::size_t i = 0; i < messages; ++i) {
      const auto taken = take(*in);
      if (!taken) break;
      const bool done = what_ == Do::acknowledge || taken->attempt > 1;
      // The effect comes before the word, as a handler's does.
      if (done)
        write(journal().handled[*index_of(taken->bytes)], journal().handled[*index_of(taken->bytes)] + 1);
      [[maybe_unused]] const auto settled =
          in->settle(taken->ticket, done ? Settlement::acknowledge : wanted());
      write(journal().steps, i + 1);
    }
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    bury(files[0]);
    const auto queue = attach(files[0]);
    const auto in = queue->receiver().value();
    std::array<std::uint64_t, messages> effects{};
    std::copy_n(journal.handled.begin(), messages, effects.begin());
    Verdict verdict;
    while (const auto taken = take(*in)) {
      const auto index = index_of(taken->bytes);
      if (!index || *index >= messages) return {.fault = Fault::torn, .text = "other bytes arrived"};
      if (effects[*index] != 0) {
        if (verdict.redelivered) return {.fault = Fault::twice, .text = "two items are offered again"};
        if (taken->attempt < 2)
          return {.fault = Fault::twice, .text = "offered again as if for the first time"};
        verdict.redelivered = true;
      }
      ++effects[*index];
      if (!in->settle(taken->ticket, Settlement::acknowledge))
        return {.fault = Fault::stuck, .text = "it cannot be acknowledged"};
    }
    for (const QuarantinedItem& kept : queue->quarantine()) {
      const auto index = index_of(kept.bytes);
      if (!index || *index >= messages)
        return {.fault = Fault::torn, .text = "other bytes in the quarantine"};
      ++effects[*index];
    }
    for (const auto effect : effects) {
      if (effect == 0) return {.fault = Fault::lost, .text = "neither handled nor kept"};
      if (effect > 2) return {.fault = Fault::twice, .text = "handled three times"};
    }
    if (queue->size() != 0)
      return {.fault = Fault::stuck, .text = "something is left that nobody is offered"};
    return verdict;
  }

 private:
  [[nodiscard]] Settlement wanted() const {
    return what_ == Do::give_up ? Settlement::give_up : Settlement::give_back;
  }
  Do what_;
};

/// The same, of a child that is stopped and not dead: the test takes what it can get in the meantime.
class TakesBeside : public ThreeTakes {
 public:
  TakesBeside() : ThreeTakes{Do::acknowledge} {}

  void take_all() const {
    const auto in = owner().receiver().value();
    while (const auto taken = take(*in)) {
      const std::size_t index = *index_of(taken->bytes);
      write(journal().handled[index], journal().handled[index] + 1);
      in->settle(taken->ticket, Settlement::acknowledge).value();
    }
  }
};

/// An acknowledgement for which a full queue's sender waits.
class Acknowledges : public QueueScenario {
 public:
  Acknowledges() : QueueScenario{{.items_max = 1, .bytes_max = 4096, .senders_max = 1, .ends_max = 4}} {
    out_ = owner().sender().value();
    if (!put(*out_, 0)) throw Failure{{ErrorKind::full, 0, "no room"}};
    const auto words = QueueFile::open(owner().descriptors().value(), "test").value();
    words->lane(0).wanted.store(0);
    words->lane(0).waiting.store(1);
    [[maybe_unused]] const bool drained = room_bell_is_rung();
  }

  void run() override {
    const auto queue = attach();
    const auto in = queue->receiver().value();
    [[maybe_unused]] const bool of_its_coming = room_bell_is_rung();
    mark();
    if (const auto taken = take(*in)) [[maybe_unused]]
      const auto settled = in->settle(taken->ticket, Settlement::acknowledge);
    write(journal().steps, 1);
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    rung_ = room_bell_is_rung() || rung_;
    bury(files[0]);
    const auto queue = attach(files[0]);
    if (journal.steps != 0 && !rung_)
      return {.fault = Fault::stuck, .text = "it has acknowledged, and nobody woke the sender"};
    const auto in = queue->receiver().value();
    [[maybe_unused]] const bool of_its_coming = room_bell_is_rung();
    const auto taken = take(*in);
    if (journal.steps != 0 && taken)
      return {.fault = Fault::twice, .text = "acknowledged, and offered again"};
    return {.redelivered = taken && taken->attempt == 2};
  }

 private:
  std::unique_ptr<QueueSender> out_;
  mutable bool rung_ = false;  ///< looking has taken the ring away, and the next judge has to know of it
};

// --- coming to a queue, and leaving

/// A sender comes to a queue that has room for one, puts one item and leaves.
class ComesAndGoes : public QueueScenario {
 public:
  ComesAndGoes() : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 1, .ends_max = 3}} {}

  void run() override {
    const auto queue = attach();
    mark();
    {
      const auto out = come(*queue);
      if (put(*out, 0)) write(journal().sent, 1);
    }
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    bury(files[0]);
    const auto queue = attach(files[0]);
    const auto out = queue->sender();
    if (!out) return {.fault = Fault::stuck, .text = "nobody can come any more: " + out.error().text};
    if (!put(**out, 3)) return {.fault = Fault::stuck, .text = "the next sender cannot put"};
    const auto in = queue->receiver().value();
    std::size_t first = 0;
    std::size_t later = 0;
    while (const auto taken = take(*in)) {
      first += index_of(taken->bytes) == 0 ? 1 : 0;
      later += index_of(taken->bytes) == 3 ? 1 : 0;
      if (!in->settle(taken->ticket, Settlement::acknowledge))
        return {.fault = Fault::stuck, .text = "acknowledge"};
    }
    if (first < journal.sent || later != 1) return {.fault = Fault::lost, .text = "put, and not there"};
    if (first > 1) return {.fault = Fault::twice, .text = "there twice"};
    return {};
  }

 private:
  [[nodiscard]] virtual std::unique_ptr<QueueSender> come(SharedQueue& queue) {
    return queue.sender().value();
  }
};

/// The same with a sender that the owner has passed to it.
class ArrivesAndGoes : public ComesAndGoes {
 public:
  ArrivesAndGoes() { pass_ = owner().pass(QueueAccess::End::sender).value(); }

 private:
  [[nodiscard]] std::unique_ptr<QueueSender> come(SharedQueue& /*queue*/) override {
    return SharedQueue::arrive_sender(std::move(pass_)).value();
  }
  QueuePass pass_;
};

/// A sender is made for a third process, which is to answer for it; whoever does so dies.
class PassesASender : public QueueScenario {
 public:
  PassesASender() : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 1, .ends_max = 3}} {}

  void run() override {
    const auto queue = attach();
    mark();
    if (const auto pass = queue->pass(QueueAccess::End::sender)) pass->once_known(third_);
    write(journal().steps, 1);
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    const auto words = QueueFile::open(attach(files[0])->descriptors().value(), "judge").value();
    std::size_t third_holds = 0;
    for (std::size_t i = 0; i < words->bounds().ends; ++i) {
      const SlotState state = SlotState::of(words->slot(i).state.load());
      third_holds +=
          state.kind == SlotState::Kind::travelling && state.pid == static_cast<std::uint32_t>(third_.pid)
              ? 1
              : 0;
    }
    if (journal.steps != 0 && third_holds != 1)
      return {.fault = Fault::lost, .text = "passed, and the third process does not hold it"};
    bury(files[0]);
    const auto queue = attach(files[0]);
    if (const auto out = queue->sender(); !out)
      return {.fault = Fault::stuck, .text = "nobody can come any more: " + out.error().text};
    return {};
  }

 private:
  ProcessMark third_ = mark_of(::getppid()).value();
};

// --- putting back

/// Somebody who has seen a receiver's death puts back what it had in hand, and dies at that.
class PutsBack : public QueueScenario {
 public:
  PutsBack() : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 1, .ends_max = 5}} {
    const auto out = owner().sender().value();
    for (std::size_t i = 0; i < messages; ++i)
      if (!put(*out, i)) throw Failure{{ErrorKind::full, 0, "no room"}};
    test::Forked dies{[this] {
      const auto queue = attach();
      const auto in = queue->receiver().value();
      const auto first = take(*in);
      const auto second = take(*in);
      ::_exit(first && second ? 0 : 1);
      return 0;
    }};
    if (dies.exit_code(deadline_in(20s)) != 0)
      throw Failure{{ErrorKind::down, 0, "the receiver took nothing"}};
  }

  void run() override {
    const auto words = QueueFile::open(attach()->descriptors().value(), "child").value();
    mark();
    detail::reap_all(*words);
    write(journal().steps, 1);
    mark();
  }

  [[nodiscard]] Verdict judge(Files files, const Journal& journal) const override {
    const auto queue = attach(files[0]);
    if (journal.steps != 0 && !queue->holders().empty())
      return {.fault = Fault::stuck, .text = "put back, and still held"};
    bury(files[0]);
    const auto in = queue->receiver().value();
    std::array<std::size_t, messages> found{};
    while (const auto taken = take(*in)) {
      const auto index = index_of(taken->bytes);
      if (!index || *index >= messages) return {.fault = Fault::torn, .text = "other bytes arrived"};
      ++found[*index];
      if (taken->attempt != (*index < 2 ? 2U : 1U))
        return {.fault = Fault::twice, .text = "another attempt than it is"};
      if (!in->settle(taken->ticket, Settlement::acknowledge))
        return {.fault = Fault::stuck, .text = "acknowledge"};
    }
    for (const auto times : found)
      if (times != 1)
        return {.fault = times == 0 ? Fault::lost : Fault::twice, .text = "not offered just once"};
    return {};
  }
};

/// A sender that is stopped, beside another one.
class PutsBeside : public QueueScenario {
 public:
  PutsBeside() : QueueScenario{{.items_max = 8, .bytes_max = 4096, .senders_max = 2, .ends_max = 4}} {
    in_ = owner().receiver().value();
    out_ = owner().sender().value();
  }

  void run() override {
    const auto queue = attach();
    const auto out = queue->sender().value();
    mark();
    if (put(*out, 0)) write(journal().sent, 1);
    mark();
  }

  [[nodiscard]] Verdict judge(Files /*files*/, const Journal& /*journal*/) const override {
    return {};  // its test looks by itself, while the child is stopped
  }

  /// What the test itself puts and takes; how often the child's item came.
  [[nodiscard]] std::size_t go_on() const {
    std::size_t of_child = 0;
    for (const std::size_t wanted : {1U, 2U, 3U}) {
      if (!put(*out_, wanted)) throw Failure{{ErrorKind::full, 0, "the other sender cannot put"}};
      bool came = false;
      while (const auto taken = take(*in_)) {
        const auto index = index_of(taken->bytes);
        came |= index == wanted;
        of_child += index == 0U ? 1 : 0;
        in_->settle(taken->ticket, Settlement::acknowledge).value();
      }
      if (!came) throw Failure{{ErrorKind::timed_out, 0, "the other sender's item does not come"}};
    }
    return of_child;
  }

 private:
  std::unique_ptr<QueueReceiver> in_;
  std::unique_ptr<QueueSender> out_;
};

/// A receiver that is stopped while it gives up an item, beside another one.
class GivesUpBeside : public ThreeTakes {
 public:
  GivesUpBeside() : ThreeTakes{Do::give_up} {}

  /// Takes what there is, and gives it up as well. How many.
  [[nodiscard]] std::size_t give_up_all() const {
    const auto in = owner().receiver().value();
    std::size_t taken_here = 0;
    while (const auto taken = take(*in)) {
      ++taken_here;
      in->settle(taken->ticket, Settlement::give_up).value();
    }
    return taken_here;
  }
  [[nodiscard]] std::size_t kept() const { return owner().quarantine().size(); }
};

class QueueStepping : public test::SteppingTest {};

TEST_F(QueueStepping, AnItemIsPutOrNotAtEveryInstruction) {
  expect_sound_in_both_forms("three puts", making<ThreePuts>());
}

TEST_F(QueueStepping, NoItemIsLostAndOneIsRepeatedAtEveryInstructionOfTakingAndAcknowledging) {
  expect_sound_in_both_forms("three takes", making<ThreeTakes>(ThreeTakes::Do::acknowledge));
}

TEST_F(QueueStepping, AnItemIsTakenOnceWhereverItsReceiverIsStoppedWhileAnotherTakes) {
  const auto recorded = std::make_unique<TakesBeside>();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(100s)).value();
  for (std::size_t at = 0; at < trace.size(); at += test::step_stride(1)) {
    const auto takes = std::make_unique<TakesBeside>();
    auto child = test::SteppedChild::create([&] { takes->run(); }, deadline_in(100s)).value();
    [[maybe_unused]] const auto stopped = child.advance(trace, at);  // there, or where it went another way
    takes->take_all();
    ASSERT_TRUE(child.run());
    for (std::size_t i = 0; i < messages; ++i)
      ASSERT_EQ(takes->journal().handled[i], 1U) << "item " << i << ", stopped at " << at;
  }
}

TEST_F(QueueStepping, ASenderStoppedAtAnyInstructionHoldsUpNoOther) {
  const auto recorded = std::make_unique<PutsBeside>();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(100s)).value();
  for (std::size_t at = 0; at < trace.size(); at += test::step_stride(1)) {
    const auto puts = std::make_unique<PutsBeside>();
    auto child = test::SteppedChild::create([&] { puts->run(); }, deadline_in(100s)).value();
    [[maybe_unused]] const auto stopped = child.advance(trace, at);
    const std::size_t before = puts->go_on();
    ASSERT_TRUE(child.run());
    ASSERT_EQ(puts->journal().sent, 1U);
    ASSERT_EQ(before + puts->go_on(), 1U) << "stopped at " << at;
  }
}

TEST_F(QueueStepping, AReceiverStoppedAtAnyInstructionOfGivingUpHoldsUpNoOther) {
  const auto recorded = std::make_unique<GivesUpBeside>();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(100s)).value();
  for (std::size_t at = 0; at < trace.size(); at += test::step_stride(4)) {
    const auto takes = std::make_unique<GivesUpBeside>();
    auto child = test::SteppedChild::create([&] { takes->run(); }, deadline_in(100s)).value();
    [[maybe_unused]] const auto stopped = child.advance(trace, at);
    [[maybe_unused]] const auto here = takes->give_up_all();
    ASSERT_TRUE(child.run());
    static_cast<void>(takes->give_up_all());  // what waited for the quarantine meanwhile
    ASSERT_EQ(takes->kept(), messages) << "stopped at " << at;
  }
}

TEST_F(QueueStepping, NoItemIsLostAtEveryInstructionOfGivingBack) {
  expect_sound_in_both_forms("three given back", making<ThreeTakes>(ThreeTakes::Do::give_back));
}

TEST_F(QueueStepping, NoItemIsLostOnItsWayToTheQuarantine) {
  expect_sound_in_both_forms("three given up", making<ThreeTakes>(ThreeTakes::Do::give_up), 4);
}

TEST_F(QueueStepping, AWaitingSenderIsRungForOrThereIsADeathToWakeIt) {
  expect_sound_in_both_forms("acknowledge to a waiting sender", making<Acknowledges>());
}

TEST_F(QueueStepping, APlaceIsTakenOrFreeAtEveryInstructionOfComingAndGoing) {
  expect_sound_in_both_forms("come and go", making<ComesAndGoes>(), 8);
}

TEST_F(QueueStepping, ASenderThatWasPassedArrivesOrLeavesItsPlaceFreeAtEveryInstruction) {
  expect_sound_in_both_forms("arrive and go", making<ArrivesAndGoes>(), 8);
}

TEST_F(QueueStepping, ASenderIsPassedOrLeavesItsPlaceFreeAtEveryInstruction) {
  expect_sound_in_both_forms("pass a sender on", making<PassesASender>(), 8);
}

TEST_F(QueueStepping, WhatADeadReceiverHadIsPutBackOnceWhoeverDiesAtThat) {
  expect_sound_in_both_forms("put back", making<PutsBack>(), 8);
}

}  // namespace
}  // namespace troupe
