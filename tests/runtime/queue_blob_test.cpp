// SPDX-License-Identifier: MIT
// Items of queues that hold blobs: what arrives, and that nothing stays behind.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/queue.hpp>

#include "deposits.hpp"
#include "leaves_nothing.hpp"
#include "transport/blobs.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::deposits;
using test::none_left;
using test::ones;
using test::sum_of;
using test::used;

constexpr auto patience = 20s;

struct Picture {
  int number = 0;
  Blob pixels{};
};
struct Seen {
  int number = 0;
  std::uint32_t attempt = 0;
  std::uint64_t sum = 0;
};

void look(Receiver<Picture> in, Sender<Seen> out) {
  for (auto& picture : in) {
    out.put({picture->number, picture.attempt(), sum_of(picture->pixels)}, patience).value();
    picture.acknowledge();
  }
}
void look_once_and_die(Receiver<Picture> in, Sender<Seen> out) {
  auto picture = in.get(patience).value();
  out.put({picture->number, picture.attempt(), sum_of(picture->pixels)}, patience).value();
  ::raise(SIGKILL);
}
void put_and_die(Sender<Picture> out, std::uint64_t bytes) {
  out.put({1, ones(bytes)}, patience).value();
  ::raise(SIGKILL);
}
void flood(Sender<Picture> out) {
  for (int i = 0;; ++i) out.put({i, ones(4096)}, patience).value();
}
void consume(Receiver<Picture> in) {
  for (auto& picture : in) {
    if (sum_of(picture->pixels) != 4096) std::abort();
    picture.acknowledge();
  }
}

/// The same, and says when it has done twenty.
void consume_and_tell(Receiver<Picture> in, Sender<int> out) {
  int done = 0;
  for (auto& picture : in) {
    if (sum_of(picture->pixels) != 4096) std::abort();
    picture.acknowledge();
    if (++done == 20) out.put(done, patience).value();
  }
}

class QueueBlobTest : public test::LeavesNothing {
 protected:
  static void expect_next(Receiver<Seen>& in, int number, std::uint32_t attempt, std::uint64_t sum) {
    auto seen = in.get(patience).value();
    EXPECT_EQ(seen->number, number);
    EXPECT_EQ(seen->attempt, attempt);
    EXPECT_EQ(seen->sum, sum);
    seen.acknowledge();
  }

  Queue<Picture> pictures{};
  Queue<Seen> results{};
};

TEST_F(QueueBlobTest, AnItemBringsItsBlobToAnotherProcess) {
  Process reader{{.name = "reader"}, look, pictures.receiver(), results.sender()};
  reader.start().value();
  auto out = pictures.sender();
  auto in = results.receiver();
  out.put({1, ones(std::size_t{8} << 20U)}).value();
  out.put({2, {}}).value();
  out.put({3, ones(1)}).value();
  expect_next(in, 1, 1, std::size_t{8} << 20U);
  expect_next(in, 2, 1, 0);
  expect_next(in, 3, 1, 1);
  pictures.drain(patience).value();
  pictures.close();
  out = {};
  EXPECT_TRUE(reader.join(patience));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, IsFreedWhenItsItemIsAcknowledged) {
  auto out = pictures.sender();
  auto in = pictures.receiver();
  const auto memory = used(ones(4096), [&](const Blob& blob) { out.put({1, blob}).value(); });
  EXPECT_EQ(deposits(), 1U);
  EXPECT_FALSE(memory.freed(Clock::now()));
  {
    auto item = in.get(patience).value();
    EXPECT_EQ(sum_of(item->pixels), 4096U);
    item.acknowledge();
  }
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, AnItemThatIsGivenBackHasItsBlobAgain) {
  auto out = pictures.sender();
  auto in = pictures.receiver();
  out.put({1, ones(10)}).value();
  in.get(patience).value().give_back();
  auto again = in.get(patience).value();
  EXPECT_EQ(again.attempt(), 2U);
  EXPECT_EQ(sum_of(again->pixels), 10U);
}

TEST_F(QueueBlobTest, AnItemOfAKilledConsumerHasItsBlobAgain) {
  auto in = results.receiver();
  Process victim{{.name = "victim"}, look_once_and_die, pictures.receiver(), results.sender()};
  victim.start().value();
  pictures.sender().put({1, ones(10)}).value();
  expect_next(in, 1, 1, 10);
  EXPECT_TRUE(victim.join(patience));
  EXPECT_EQ(deposits(), 1U);
  Process other{{.name = "other"}, look, pictures.receiver(), results.sender()};
  other.start().value();
  expect_next(in, 1, 2, 10);
  pictures.close();
  EXPECT_TRUE(other.join(patience));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, OutlivesASenderThatIsKilledRightBehindThePut) {
  Process sender{{.name = "sender"}, put_and_die, pictures.sender(), std::uint64_t{5}};
  sender.start().value();
  EXPECT_TRUE(sender.join(patience));
  EXPECT_EQ(deposits(), 1U);
  auto item = pictures.receiver().get(patience).value();
  EXPECT_EQ(sum_of(item->pixels), 5U);
  item.acknowledge();
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, IsFreedWithTheQueue) {
  test::MemoryWatch memory = used(ones(4096), [&](const Blob& blob) {
    Queue<Picture> short_lived;
    short_lived.sender().put({1, blob}).value();
    EXPECT_EQ(deposits(), 1U);
  });
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, IsFreedWithTheLastProcessThatHasAnEnd) {
  Queue<Picture> other;
  auto in = other.receiver();
  Process sender{{.name = "sender"}, put_and_die, other.sender(), std::uint64_t{5}};
  { const Queue<Picture> gone = std::move(other); }
  in = {};
  sender.start().value();
  EXPECT_TRUE(sender.join(patience));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, IsFreedWhenItsItemGoesToTheQuarantine) {
  auto out = pictures.sender();
  auto in = pictures.receiver();
  const auto memory = used(ones(4096), [&](const Blob& blob) { out.put({1, blob}).value(); });
  in.get(patience).value().give_up();
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
  EXPECT_TRUE(none_left());
  EXPECT_EQ(pictures.quarantine().size(), 1U);
}

TEST_F(QueueBlobTest, IsFreedWhenItsItemIsDropped) {
  Queue<Picture> latest{{.overflow = Overflow::latest}};
  auto out = latest.sender();
  for (int i = 0; i < 10; ++i) out.put({i, ones(1)}).value();
  EXPECT_EQ(deposits(), 1U);
  auto item = latest.receiver().get(patience).value();
  EXPECT_EQ(item->number, 9);
  EXPECT_EQ(sum_of(item->pixels), 1U);
}

TEST_F(QueueBlobTest, TheyAreBoundedForEachSender) {
  auto out = pictures.sender();
  auto in = pictures.receiver();
  const Blob blob = ones(1);
  int queued = 0;
  while (queued < 1000 && out.put_nowait({queued, blob})) ++queued;
  EXPECT_EQ(queued, 256);
  EXPECT_EQ(out.put_nowait({0, blob}).error().kind, ErrorKind::exhausted);
  out.put_nowait({256, {}}).value();  // one without a blob goes on
  for (int i = 0; i <= 256; ++i) {
    auto item = in.get(patience).value();
    ASSERT_EQ(item->number, i);
    item.acknowledge();
  }
  EXPECT_TRUE(none_left());
  out.put_nowait({0, blob}).value();
}

TEST_F(QueueBlobTest, ASenderThatIsFarAheadWaitsForItsReceiver) {
  Process reader{{.name = "reader"}, consume, pictures.receiver()};
  reader.start().value();
  auto out = pictures.sender();
  const Blob blob = ones(4096);
  for (int i = 0; i < 1000; ++i) out.put({i, blob}, patience).value();
  out = {};
  pictures.close();
  EXPECT_TRUE(reader.join(patience));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, NothingStaysHoweverOftenSendersAndReceiversAreKilled) {
  Process sender{{.name = "sender"}, flood, pictures.sender()};
  sender.start().value();
  Queue<int> told;
  auto in = told.receiver();
  for (int round = 0; round < 10; ++round) {
    Process reader{{.name = "reader"}, consume_and_tell, pictures.receiver(), told.sender()};
    reader.start().value();
    in.get(patience).value().acknowledge();
    reader.kill().value();
  }
  sender.kill().value();
  pictures.close();
  Process last{{.name = "last"}, consume, pictures.receiver()};
  last.start().value();
  EXPECT_TRUE(last.join(patience));
  EXPECT_TRUE(none_left());
}

TEST_F(QueueBlobTest, AProcessWithoutAKeeperIsToldWhy) {
  auto descriptors = pictures.descriptors().value();
  pictures.sender().put({1, ones(1)}).value();
  const pid_t forked = ::fork();  // which may not use its parent's keeper
  if (forked == 0) {
    auto attached = Queue<Picture>::attach(std::move(descriptors)).value();
    const bool put = attached.sender().put({2, ones(1)}).error().kind == ErrorKind::refused;
    const bool got = attached.receiver().get(patience).error().kind == ErrorKind::refused;
    const bool plain = attached.sender().put({3, {}}).has_value();
    ::_exit((put ? 1 : 0) + (got ? 2 : 0) + (plain ? 4 : 0));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(forked, &status, 0), forked);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  auto item = pictures.receiver().get(patience).value();
  EXPECT_EQ(item->number, 1);
  EXPECT_EQ(sum_of(item->pixels), 1U);
}

}  // namespace
}  // namespace troupe
