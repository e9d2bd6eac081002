// SPDX-License-Identifier: MIT
#include <troupe/transport/queue.hpp>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/shared_queue.hpp>
#include <troupe/transport/socket_channel.hpp>

#include "transport/attached_queue.hpp"
#include "transport/forked.hpp"
#include "transport/gate.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::attached;
using test::Forked;
using test::Gate;

constexpr auto patience = 20s;

struct Job {
  int number = 0;
  std::string text{};
};

/// Waits until that process sleeps, for whatever.
bool falls_asleep(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  for (const TimePoint deadline = deadline_in(patience); Clock::now() < deadline; std::this_thread::yield()) {
    std::ifstream file{path};
    const std::string stat{std::istreambuf_iterator<char>{file}, {}};
    const auto name_end = stat.rfind(") ");
    if (name_end != std::string::npos && stat[name_end + 2] == 'S') return true;
  }
  return false;
}

Result<detail::Taken> taken_from(detail::QueueReceiver& in, Duration within) {
  Deadline deadline{within};
  return in.take(deadline);
}

class QueueTest : public test::NothingLeft {};

// ---- one process
// --------------------------------------------------------------------------------------------

TEST_F(QueueTest, GivesWhatWasPutInOrder) {
  Queue<Job> jobs;
  auto out = jobs.sender();
  auto in = jobs.receiver();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(out.put({i, std::to_string(i)}).value(), Placed::queued);
  for (int i = 0; i < 100; ++i) {
    auto job = in.get(patience).value();
    EXPECT_EQ(job->number, i);
    EXPECT_EQ(job->text, std::to_string(i));
    EXPECT_EQ(job.attempt(), 1U);
    job.acknowledge();
  }
  EXPECT_EQ(jobs.size(), 0U);
}

TEST_F(QueueTest, CountsWhatIsPutAndNotAcknowledged) {
  Queue<int> queue;
  auto out = queue.sender();
  auto in = queue.receiver();
  EXPECT_EQ(queue.size(), 0U);
  out.put(1).value();
  out.put(2).value();
  EXPECT_EQ(queue.size(), 2U);
  auto first = in.get(patience).value();
  EXPECT_EQ(queue.size(), 2U) << "what is in hand is in the queue";
  first.acknowledge();
  EXPECT_EQ(queue.size(), 1U);
}

TEST_F(QueueTest, WaitsForAnItemUntilTheDeadlineAndNotLess) {
  Queue<int> queue;
  auto in = queue.receiver();
  const auto before = Clock::now();
  EXPECT_EQ(in.get(30ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_EQ(in.get_nowait().error().kind, ErrorKind::timed_out);
}

TEST_F(QueueTest, WaitsForRoomUntilTheDeadlineAndNotLess) {
  Queue<int> queue{{.items_max = 2}};
  auto out = queue.sender();
  out.put(1).value();
  out.put(2).value();
  const auto before = Clock::now();
  EXPECT_EQ(out.put(3, 30ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_EQ(out.put_nowait(3).error().kind, ErrorKind::timed_out);
  EXPECT_EQ(queue.size(), 2U) << "what timed out was not put";
  queue.receiver().get(patience).value().acknowledge();
  EXPECT_EQ(out.put_nowait(3).value(), Placed::queued);
}

TEST_F(QueueTest, AWaitingReceiverIsWokenByAPut) {
  Queue<int> queue;
  auto in = queue.receiver();
  std::thread late{[out = queue.sender()]() mutable { out.put(7).value(); }};
  auto item = in.get(patience).value();
  EXPECT_EQ(*item, 7);
  item.acknowledge();
  late.join();
}

TEST_F(QueueTest, AWaitingSenderIsWokenByAnAcknowledgement) {
  Queue<int> queue{{.items_max = 1}};
  auto out = queue.sender();
  out.put(1).value();
  std::thread late{[in = queue.receiver()]() mutable { in.get(patience).value().acknowledge(); }};
  EXPECT_EQ(out.put(2, patience).value(), Placed::queued);
  late.join();
}

TEST_F(QueueTest, HoldsEverySizeUpToItsBoundAndWrapsAround) {
  Queue<Bytes> queue{{.items_max = 64, .bytes_max = 8192}};
  auto out = queue.sender();
  auto in = queue.receiver();
  std::uint64_t seed = 0;
  for (int round = 0; round < 20; ++round)
    for (const std::size_t bytes : {0U, 1U, 7U, 8U, 9U, 1000U, 4096U, 8184U}) {
      const auto payload = test::pattern(++seed, bytes);
      ASSERT_EQ(out.put(payload, patience).value(), Placed::queued) << bytes;
      auto item = in.get(patience).value();
      ASSERT_EQ(*item, payload);
      item.acknowledge();
    }
}

TEST_F(QueueTest, RefusesWhatCanNeverFit) {
  Queue<Bytes> queue{{.bytes_max = 4096}};
  auto out = queue.sender();
  const auto error = out.put(Bytes(4096)).error();
  EXPECT_EQ(error.kind, ErrorKind::invalid);
  EXPECT_NE(error.text.find("bytes_max"), std::string::npos) << error.text;
  EXPECT_NE(error.text.find("into a Blob"), std::string::npos) << error.text;
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, IsBoundedInBytesAsInItems) {
  Queue<Bytes> queue{{.items_max = 1000, .bytes_max = 10 * 1024}};
  auto out = queue.sender();
  std::size_t put = 0;
  while (out.put_nowait(Bytes(1016)).has_value()) ++put;  // 8 bytes of length in front
  EXPECT_EQ(put, 10U);
}

TEST_F(QueueTest, RefusesImpossibleBounds) {
  for (const QueueOptions& wrong :
       {QueueOptions{.items_max = 0}, QueueOptions{.bytes_max = 0},
        QueueOptions{.bytes_max = std::size_t{1} << 40U}, QueueOptions{.senders_max = 65},
        QueueOptions{.ends_max = 1000}, QueueOptions{.attempts_max = 0}})
    EXPECT_EQ(Queue<int>::create(wrong).error().kind, ErrorKind::invalid);
}

// ---- settling
// -----------------------------------------------------------------------------------------------

TEST_F(QueueTest, AnItemThatIsGivenBackComesAgainWithItsNextAttempt) {
  Queue<int> queue;
  auto in = queue.receiver();
  queue.sender().put(5).value();
  in.get(patience).value().give_back();
  auto again = in.get(patience).value();
  EXPECT_EQ(*again, 5);
  EXPECT_EQ(again.attempt(), 2U);
  again.acknowledge();
  EXPECT_EQ(queue.counts().given_back, 1U);
}

TEST_F(QueueTest, AnItemThatIsDroppedWithoutAWordIsGivenBack) {
  Queue<int> queue;
  auto in = queue.receiver();
  queue.sender().put(5).value();
  { auto forgotten = in.get(patience).value(); }
  EXPECT_EQ(in.get(patience).value().attempt(), 2U);
}

TEST_F(QueueTest, AnItemThatFailedTooOftenGoesToTheQuarantine) {
  Queue<Job> queue{{.attempts_max = 2}};
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put({13, "poison"}).value();
  out.put({14, "fine"}).value();
  in.get(patience).value().give_back();
  in.get(patience).value().give_back();
  auto next = in.get(patience).value();
  EXPECT_EQ(next->number, 14);
  next.acknowledge();
  EXPECT_EQ(in.get_nowait().error().kind, ErrorKind::timed_out);
  const auto kept = queue.quarantine();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].cause, QuarantinedItem::Cause::attempts);
  EXPECT_EQ(kept[0].attempts, 2U);
  EXPECT_EQ(decode<Job>(kept[0].bytes).value().text, "poison");
  EXPECT_EQ(queue.counts().quarantined, 1U);
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, AnItemThatIsGivenUpGoesToTheQuarantineAtOnce) {
  Queue<int> queue;
  auto in = queue.receiver();
  queue.sender().put(5).value();
  in.get(patience).value().give_up();
  EXPECT_EQ(in.get_nowait().error().kind, ErrorKind::timed_out);
  ASSERT_EQ(queue.quarantine().size(), 1U);
  EXPECT_EQ(queue.quarantine()[0].cause, QuarantinedItem::Cause::given_up);
}

TEST_F(QueueTest, BytesThatDoNotDecodeGoToTheQuarantineAndTheNextOneIsGiven) {
  Queue<Job> jobs;
  auto numbers = Queue<int>::attach(jobs.descriptors().value()).value();  // whoever means another type
  numbers.sender().put(1).value();
  auto out = jobs.sender();
  out.put({2, "two"}).value();
  auto job = jobs.receiver().get(patience).value();
  EXPECT_EQ(job->number, 2);
  job.acknowledge();
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

TEST_F(QueueTest, AnItemThatThereIsNoMemoryForStaysInTheQueue) {
  Queue<Large> queue;
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put({7}).value();
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::exhausted);
  auto item = in.get(patience).value();
  EXPECT_EQ(item->number, 7);
  EXPECT_EQ(item.attempt(), 2U);
  item.acknowledge();
  EXPECT_TRUE(queue.quarantine().empty());
}

TEST_F(QueueTest, TheQuarantineKeepsTheLastOnes) {
  Queue<int> queue{{.items_max = 4}};
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 200; ++i) {
    out.put(i, patience).value();
    in.get(patience).value().give_up();
  }
  const auto kept = queue.quarantine();
  ASSERT_EQ(kept.size(), 64U);
  EXPECT_EQ(decode<int>(kept.back().bytes).value(), 199);
  EXPECT_EQ(queue.counts().quarantined, 200U);
}

// ---- overflow
// -----------------------------------------------------------------------------------------------

std::vector<int> drained(Receiver<int>& in) {
  std::vector<int> all;
  while (auto item = in.get_nowait()) {
    all.push_back(**item);
    item->acknowledge();
  }
  return all;
}

TEST_F(QueueTest, FailSaysFullAtOnce) {
  Queue<int> queue{{.items_max = 1, .overflow = Overflow::fail}};
  auto out = queue.sender();
  out.put(1).value();
  EXPECT_EQ(out.put(2, patience).error().kind, ErrorKind::full);
  EXPECT_EQ(queue.counts().refused_full, 1U);
}

TEST_F(QueueTest, DropNewKeepsWhatIsThere) {
  Queue<int> queue{{.items_max = 2, .overflow = Overflow::drop_new}};
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(out.put(i).value(), i < 2 ? Placed::queued : Placed::dropped);
  EXPECT_EQ(drained(in), (std::vector{0, 1}));
  EXPECT_EQ(queue.counts().dropped_new, 3U);
}

TEST_F(QueueTest, DropOldKeepsTheNewest) {
  Queue<int> queue{{.items_max = 2, .overflow = Overflow::drop_old}};
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(out.put(i).value(), Placed::queued);
  EXPECT_EQ(drained(in), (std::vector{3, 4}));
  EXPECT_EQ(queue.counts().dropped_old, 3U);
}

TEST_F(QueueTest, DropOldDropsNothingThatSomebodyHasInHand) {
  Queue<int> queue{{.items_max = 1, .overflow = Overflow::drop_old}};
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(1).value();
  auto held = in.get(patience).value();
  EXPECT_EQ(out.put(2).value(), Placed::dropped);
  held.acknowledge();
  EXPECT_EQ(out.put(3).value(), Placed::queued);
  EXPECT_EQ(drained(in), (std::vector{3}));
}

TEST_F(QueueTest, LatestReplacesWhatNobodyHasTaken) {
  Queue<int> queue{{.items_max = 8, .overflow = Overflow::latest}};
  auto out = queue.sender();
  auto in = queue.receiver();
  for (int i = 0; i < 5; ++i) out.put(i).value();
  EXPECT_EQ(drained(in), (std::vector{4}));
  EXPECT_EQ(queue.counts().replaced, 4U);
  EXPECT_EQ(queue.counts().put, 5U);
}

// ---- the end
// ------------------------------------------------------------------------------------------------

TEST_F(QueueTest, IterationEndsWhenItIsClosedAndEmpty) {
  Queue<int> queue;
  auto in = queue.receiver();
  {
    auto out = queue.sender();
    for (int i = 0; i < 10; ++i) out.put(i).value();
  }
  queue.close();
  int next = 0;
  for (auto& item : in) {
    EXPECT_EQ(*item, next++);
    item.acknowledge();
  }
  EXPECT_EQ(next, 10);
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
}

TEST_F(QueueTest, ASenderHoldsAClosedStreamOpen) {
  Queue<int> queue;
  auto in = queue.receiver();
  auto out = std::make_unique<Sender<int>>(queue.sender());
  queue.close();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::timed_out);
  out->put(1).value();
  in.get(patience).value().acknowledge();
  std::thread late{[&] { out.reset(); }};
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
  late.join();
}

TEST_F(QueueTest, AClosedQueueTakesNoNewSender) {
  Queue<int> queue;
  queue.close();
  EXPECT_EQ(queue.try_sender().error().kind, ErrorKind::closed);
}

TEST_F(QueueTest, AReceiverThatComesTooLateIsToldThatItIsOver) {
  Queue<int> queue;
  queue.sender().put(1).value();
  queue.close();
  queue.receiver().get(patience).value().acknowledge();
  auto late = queue.receiver();
  EXPECT_EQ(late.get(patience).error().kind, ErrorKind::closed);
  for ([[maybe_unused]] auto& item : late) FAIL() << "there is nothing";
}

TEST_F(QueueTest, AnItemInAnothersHandKeepsTheStreamFromEnding) {
  Queue<int> queue;
  auto one = queue.receiver();
  auto other = queue.receiver();
  queue.sender().put(1).value();
  queue.close();
  auto held = one.get(patience).value();
  EXPECT_EQ(one.get(patience).error().kind, ErrorKind::closed) << "only itself could give it back";
  EXPECT_EQ(other.get(10ms).error().kind, ErrorKind::timed_out);
  std::thread late{[&] { held.give_back(); }};
  auto again = other.get(patience).value();
  EXPECT_EQ(again.attempt(), 2U);
  again.acknowledge();
  EXPECT_EQ(other.get(patience).error().kind, ErrorKind::closed);
  late.join();
}

TEST_F(QueueTest, DrainReturnsWhenAllIsAcknowledged) {
  Queue<int> queue;
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

TEST_F(QueueTest, DrainNamesWhoHoldsWhat) {
  Queue<int> queue;
  auto in = queue.receiver();
  auto out = queue.sender();
  out.put(1).value();
  out.put(2).value();
  auto held = in.get(patience).value();
  const auto error = queue.drain(10ms).error();
  EXPECT_EQ(error.kind, ErrorKind::timed_out);
  EXPECT_NE(error.text.find("2 items not acknowledged"), std::string::npos) << error.text;
  EXPECT_NE(error.text.find("process " + std::to_string(::getpid()) + " holds 1 item"), std::string::npos)
      << error.text;
  ASSERT_EQ(queue.holders().size(), 1U);
  EXPECT_EQ(queue.holders()[0].process, own_mark().value());
}

// ---- in place
// -----------------------------------------------------------------------------------------------

TEST_F(QueueTest, BytesAreWrittenAndReadInPlace) {
  Queue<Bytes> queue{{.bytes_max = 1U << 20U}};
  auto out = queue.sender();
  auto in = queue.receiver();
  const auto payload = test::pattern(3, 100'000);
  {
    auto room = out.reserve(200'000).value();
    ASSERT_EQ(room.bytes().size(), 200'000U);
    std::ranges::copy(payload, room.bytes().begin());
    EXPECT_EQ(std::move(room).commit(payload.size()).value(), Placed::queued);
  }
  auto view = in.view(patience).value();
  EXPECT_TRUE(std::ranges::equal(view.bytes(), payload));
  view.item().acknowledge();
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, ARoomThatIsNotCommittedHasPutNothing) {
  Queue<Bytes> queue;
  auto out = queue.sender();
  { [[maybe_unused]] const auto room = out.reserve(100).value(); }
  EXPECT_EQ(queue.size(), 0U);
  out.put(test::pattern(1, 10)).value();
  EXPECT_EQ(*queue.receiver().get(patience).value(), test::pattern(1, 10));
}

// ---- waiting on many
// ----------------------------------------------------------------------------------------

TEST_F(QueueTest, IsReadableOnceSomethingIsThere) {
  Queue<int> queue;
  auto in = queue.receiver();
  auto out = queue.sender();
  EXPECT_EQ(select({in.readable()}, 10ms).error().kind, ErrorKind::timed_out);
  std::thread late{[&] { out.put(1).value(); }};
  EXPECT_EQ(select({in.readable()}, patience).value(), (std::vector<std::size_t>{0}));
  late.join();
  in.get_nowait().value().acknowledge();
  EXPECT_EQ(select({in.readable()}, 10ms).error().kind, ErrorKind::timed_out);
}

TEST_F(QueueTest, IsReadableAtItsEnd) {
  Queue<int> queue;
  auto in = queue.receiver();
  std::thread late{[&] { queue.close(); }};
  EXPECT_TRUE(select({in.readable()}, patience).has_value());
  late.join();
  EXPECT_EQ(in.get_nowait().error().kind, ErrorKind::closed);
}

// ---- processes
// ----------------------------------------------------------------------------------------------

TEST_F(QueueTest, PassesItemsBetweenProcessesThatAttachByDescriptors) {
  Queue<Job> queue;
  const auto descriptors = queue.descriptors().value();
  Forked sender{[&] {
    auto out = attached<Job>(descriptors).sender();
    for (int i = 0; i < 1000; ++i) out.put({i, "job"}, patience).value();
    return 0;
  }};
  auto in = queue.receiver();
  for (int i = 0; i < 1000; ++i) {
    auto job = in.get(patience).value();
    ASSERT_EQ(job->number, i);
    job.acknowledge();
  }
  EXPECT_EQ(sender.exit_code(deadline_in(patience)), 0);
}

TEST_F(QueueTest, AMebibyteOutlivesItsSenderWithoutAReader) {
  Queue<Bytes> queue;
  const auto descriptors = queue.descriptors().value();
  Forked sender{[&] {
    attached<Bytes>(descriptors).sender().put(test::pattern(9, 1U << 20U)).value();
    return 0;
  }};
  ASSERT_EQ(sender.exit_code(deadline_in(patience)), 0) << "nobody reads, and it ends";
  EXPECT_EQ(*queue.receiver().get(patience).value(), test::pattern(9, 1U << 20U));
}

TEST_F(QueueTest, AnItemOfADeadReceiverGoesToAnotherWithItsNextAttempt) {
  Queue<int> queue;
  const auto descriptors = queue.descriptors().value();
  queue.sender().put(42).value();
  const Gate taken;
  Forked victim{[&] {
    auto in = attached<int>(descriptors).receiver();
    auto item = in.get(patience).value();
    taken.open();
    ::pause();
    return 1;
  }};
  ASSERT_TRUE(taken.wait());
  auto in = queue.receiver();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::timed_out) << "it lives, and has it";
  std::thread killer{[&] { victim.kill(); }};
  auto item = in.get(patience).value();
  EXPECT_EQ(*item, 42);
  EXPECT_EQ(item.attempt(), 2U);
  item.acknowledge();
  killer.join();
}

TEST_F(QueueTest, AnItemOfAStoppedReceiverIsGivenToNobodyElse) {
  Queue<int> queue;
  const auto descriptors = queue.descriptors().value();
  queue.sender().put(42).value();
  Forked stopped{[&] {
    auto in = attached<int>(descriptors).receiver();
    auto item = in.get(patience).value();
    ::raise(SIGSTOP);
    item.acknowledge();
    return 0;
  }};
  siginfo_t stop{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(stopped.pid()), &stop, WSTOPPED | WEXITED | WNOWAIT), 0);
  ASSERT_EQ(stop.si_code, CLD_STOPPED);
  auto in = queue.receiver();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(in.get(10ms)) << "it is not dead, however long that takes";
  ::kill(stopped.pid(), SIGCONT);
  EXPECT_EQ(stopped.exit_code(deadline_in(patience)), 0) << "it has kept what it had";
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, AnItemFindsAReceiverThatSleepsWhileAnotherIsBusy) {
  constexpr std::uint32_t rounds = 20;
  Queue<int> queue;
  const auto descriptors = queue.descriptors().value();
  const test::SharedValue<std::atomic<std::uint32_t>> taken;
  const auto all_taken = [&](std::uint32_t count) {
    const TimePoint deadline = deadline_in(patience);
    while (*taken < count && Clock::now() < deadline) std::this_thread::yield();
    return *taken >= count;
  };
  const auto receive = [&] {
    auto in = attached<int>(descriptors).receiver();
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      auto item = in.get(patience).value();
      ++*taken;
      if (!all_taken(2 * round)) return 1;  // busy until the other has the other one
      item.acknowledge();
    }
    return 0;
  };
  Forked one{receive};
  Forked other{receive};
  auto out = queue.sender();
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    ASSERT_TRUE(falls_asleep(one.pid()) && falls_asleep(other.pid()));
    out.put(1).value();
    out.put(2).value();
    ASSERT_TRUE(all_taken(2 * round)) << "in round " << round;
  }
  EXPECT_EQ(one.exit_code(deadline_in(patience)), 0);
  EXPECT_EQ(other.exit_code(deadline_in(patience)), 0);
}

TEST_F(QueueTest, AFileThatCouldBeCutShortIsRefused) {
  Queue<int> queue{{.items_max = 4, .bytes_max = 4096, .senders_max = 1, .ends_max = 4}};
  auto descriptors = queue.descriptors().value();
  struct stat status {};
  ASSERT_EQ(::fstat(descriptors[0].get(), &status), 0);
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  ASSERT_EQ(::pread(descriptors[0].get(), bytes.data(), bytes.size(), 0), status.st_size);
  auto forged = create_memory("forged", bytes.size()).value();
  ASSERT_EQ(::pwrite(forged.get(), bytes.data(), bytes.size(), 0), status.st_size);
  descriptors[0] = std::move(forged);
  const auto attached = Queue<int>::attach(std::move(descriptors));
  ASSERT_FALSE(attached) << "the same bytes, but not sealed";
  EXPECT_EQ(attached.error().kind, ErrorKind::refused);
}

TEST_F(QueueTest, AnItemThatKillsItsReceiversEndsInTheQuarantine) {
  Queue<int> queue{{.attempts_max = 3}};
  const auto descriptors = queue.descriptors().value();
  queue.sender().put(13).value();
  for (int i = 0; i < 3; ++i) {
    Forked victim{[&] {
      auto in = attached<int>(descriptors).receiver();
      auto item = in.get(patience).value();
      ::_exit(7);
      return 0;
    }};
    ASSERT_EQ(victim.exit_code(deadline_in(patience)), 7);
  }
  auto in = queue.receiver();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::timed_out);
  ASSERT_EQ(queue.quarantine().size(), 1U);
  EXPECT_EQ(queue.quarantine()[0].attempts, 3U);
}

TEST_F(QueueTest, TheStreamEndsWhenItsOwnerDies) {
  const Gate made;
  const Gate leave;
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const SocketChannel here{OwnedFd{ends[0]}};
  const SocketChannel there{OwnedFd{ends[1]}};
  Forked owner{[&] {
    Queue<int> queue;
    queue.sender().put(1).value();
    std::vector<int> numbers;
    const auto own = queue.descriptors().value();
    for (const OwnedFd& fd : own) numbers.push_back(fd.get());
    const std::byte word{1};
    there.send(std::span{&word, 1}, numbers, deadline_in(patience)).value();
    [[maybe_unused]] const bool opened = leave.wait();
    ::_exit(0);  // without closing anything
    return 0;
  }};
  std::byte word{};
  auto packet = here.receive(std::span{&word, 1}, deadline_in(patience)).value();
  auto queue = Queue<int>::attach(std::move(packet.descriptors)).value();
  auto in = queue.receiver();
  in.get(patience).value().acknowledge();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::timed_out) << "the owner may still put";
  leave.open();
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
  EXPECT_EQ(owner.exit_code(deadline_in(patience)), 0);
}

TEST_F(QueueTest, ADeadSendersLaneIsTakenOverByTheNext) {
  Queue<int> queue{{.senders_max = 1}};
  const auto descriptors = queue.descriptors().value();
  for (int i = 0; i < 5; ++i) {
    Forked sender{[&] {
      attached<int>(descriptors).sender().put(i, patience).value();
      ::_exit(0);
      return 0;
    }};
    ASSERT_EQ(sender.exit_code(deadline_in(patience)), 0);
  }
  auto in = queue.receiver();
  EXPECT_EQ(drained(in), (std::vector{0, 1, 2, 3, 4}));
}

TEST_F(QueueTest, MoreSendersThanItHasLanesAreRefused) {
  Queue<int> queue{{.senders_max = 2}};
  auto one = queue.sender();
  auto two = queue.sender();
  const auto error = queue.try_sender().error();
  EXPECT_EQ(error.kind, ErrorKind::exhausted);
  EXPECT_NE(error.text.find("senders_max"), std::string::npos) << error.text;
}

TEST_F(QueueTest, MoreEndsThanItHasPlacesAreRefused) {
  Queue<int> queue{{.ends_max = 2}};
  auto one = queue.receiver();
  const auto error = queue.try_receiver().error();
  EXPECT_EQ(error.kind, ErrorKind::exhausted);
  EXPECT_NE(error.text.find("ends_max"), std::string::npos) << error.text;
}

TEST_F(QueueTest, APassedSenderHoldsTheStreamOpenUntilItHasArrivedAndEnded) {
  auto queue = detail::SharedQueue::create({}).value();
  auto in = queue->receiver().value();
  auto pass = queue->pass(detail::QueueAccess::End::sender).value();
  queue->close();
  EXPECT_EQ(taken_from(*in, 10ms).error().kind, ErrorKind::timed_out);
  auto out = Sender<int>{detail::SharedQueue::arrive_sender(std::move(pass)).value()};
  out.put(1).value();
  const auto taken = taken_from(*in, patience).value();
  ASSERT_TRUE(in->settle(taken.ticket, detail::Settlement::acknowledge).has_value());
  EXPECT_EQ(taken_from(*in, 10ms).error().kind, ErrorKind::timed_out);
  out = {};
  EXPECT_EQ(taken_from(*in, patience).error().kind, ErrorKind::closed);
}

TEST_F(QueueTest, APassedSenderThatIsGivenUpHoldsNoStreamOpen) {
  auto queue = detail::SharedQueue::create({}).value();
  auto in = queue->receiver().value();
  { const auto pass = queue->pass(detail::QueueAccess::End::sender).value(); }
  queue->close();
  EXPECT_EQ(taken_from(*in, patience).error().kind, ErrorKind::closed);
}

TEST_F(QueueTest, AnEndThatOutlivesItsQueueHereCannotBePassedOn) {
  auto queue = std::make_unique<Queue<int>>();
  const auto out = queue->sender();
  queue.reset();
  DescriptorList list{16};
  std::vector<std::byte> bytes(encoded_size(out));
  EXPECT_EQ(encode(out, bytes, &list).error().kind, ErrorKind::refused);
  EXPECT_TRUE(list.empty());
}

TEST_F(QueueTest, APlainForksChildIsRefused) {
  Queue<int> queue;
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(1).value();
  auto held = in.get(patience).value();
  Forked child{[&] {
    const bool refused = out.put_nowait(2).error().kind == ErrorKind::refused &&
                         in.get_nowait().error().kind == ErrorKind::refused &&
                         queue.try_sender().error().kind == ErrorKind::refused;
    { const auto gone = std::move(held); }
    return refused ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_EQ(queue.size(), 1U) << "the child has neither put nor given back anything";
  held.acknowledge();
  EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, ManyReceiversShareTheWorkAndNothingIsDoneTwice) {
  constexpr int jobs = 2000;
  constexpr int workers = 4;
  Queue<int> work;
  Queue<int> results{{.items_max = jobs}};
  const auto work_descriptors = work.descriptors().value();
  const auto result_descriptors = results.descriptors().value();
  std::vector<Forked> processes;
  for (int i = 0; i < workers; ++i)
    processes.emplace_back([&] {
      auto in = attached<int>(work_descriptors).receiver();
      auto out = attached<int>(result_descriptors).sender();
      for (auto& job : in) {
        out.put(*job, patience).value();
        job.acknowledge();
      }
      return 0;
    });
  {
    auto out = work.sender();
    for (int i = 0; i < jobs; ++i) out.put(i, patience).value();
  }
  work.close();
  auto in = results.receiver();
  std::set<int> seen;
  for (int i = 0; i < jobs; ++i) {
    auto result = in.get(patience).value();
    EXPECT_TRUE(seen.insert(*result).second) << *result << " was done twice";
    result.acknowledge();
  }
  for (auto& process : processes) EXPECT_EQ(process.exit_code(deadline_in(patience)), 0);
}

TEST_F(QueueTest, TheNumberOfDescriptorsDoesNotGrowWithTheMessages) {
  Queue<int> queue{{.items_max = 16}};
  auto out = queue.sender();
  auto in = queue.receiver();
  out.put(0).value();
  in.get(patience).value().acknowledge();
  const auto before = test::Holdings::now();
  for (int i = 0; i < 10'000; ++i) {
    out.put(i, patience).value();
    in.get(patience).value().acknowledge();
  }
  EXPECT_EQ(test::left_over(before, test::Holdings::now()), std::vector<std::string>{});
}

}  // namespace
}  // namespace troupe
