// SPDX-License-Identifier: MIT
// Ends of channels and of a queue over ZeroMQ that are killed at random moments. `TROUPE_ZMQ_KILLS`: how many
// deaths in each test.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <troupe/transport/queue.hpp>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/queue.hpp>
#include <troupe/zmq/wire.hpp>

#include "transport/forked.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::kind_of;

constexpr Duration hang = 60s;

int kills_or(int otherwise) {
  const char* const wanted = std::getenv("TROUPE_ZMQ_KILLS");
  return wanted == nullptr ? otherwise : std::atoi(wanted);
}

std::vector<std::byte> frame_of(std::uint64_t number) {
  return test::pattern(number, 1 + number * 977 % 5000);
}

class ZmqKill : public test::NothingLeft {};

template <class ChannelType>
void kill_senders(unsigned seed) {
  const int kills = kills_or(30);
  std::mt19937 random{seed};
  std::uint64_t frames = 0;
  for (int i = 0; i < kills; ++i) {
    auto ours = ChannelType::listen(i % 2 == 0 ? "ipc://*" : "tcp://127.0.0.1:*").value();
    const std::string endpoint = ours->endpoint();
    Forked child{[&] {
      auto end = ChannelType::connect(endpoint, {}, deadline_in(hang)).value();
      for (std::uint64_t n = 0;; ++n)
        if (!end->send(frame_of(n), {}, deadline_in(hang))) return 1;
    }};
    std::vector<std::byte> buffer;
    std::uint64_t next = 0;
    for (const auto stop = std::uniform_int_distribution<std::uint64_t>{1, 600}(random); next < stop; ++next)
      ASSERT_TRUE(ours->receive(buffer, deadline_in(hang)));
    child.kill();
    auto frame = ours->receive(buffer, deadline_in(hang));
    for (; frame; frame = ours->receive(buffer, deadline_in(hang)), ++next)
      ASSERT_EQ(buffer, frame_of(next)) << "torn, lost or twice";
    EXPECT_EQ(kind_of(frame), "down");
    frames += next;
  }
  std::printf("%d senders killed, %llu frames, 0 torn, 0 lost before the last, 0 twice\n", kills,
              static_cast<unsigned long long>(frames));
}

TEST_F(ZmqKill, OfAKilledSenderComesAWholeBeginningAtMostOnce) { kill_senders<AtMostOnceChannel>(11); }
TEST_F(ZmqKill, OfAKilledSenderComesAWholeBeginningAtLeastOnce) { kill_senders<AtLeastOnceChannel>(12); }

TEST_F(ZmqKill, ASenderIsToldThatItsReceiverWasKilled) {
  const int kills = kills_or(30);
  std::mt19937 random{13};
  for (int i = 0; i < kills; ++i) {
    const auto takes = std::uniform_int_distribution<int>{0, 300}(random);
    auto ours = AtLeastOnceChannel::listen("ipc://*").value();
    const std::string endpoint = ours->endpoint();
    Forked child{[&] {
      auto end = AtLeastOnceChannel::connect(endpoint, {}, deadline_in(hang)).value();
      std::vector<std::byte> buffer;
      for (int n = 0; n < takes; ++n)
        if (!end->receive(buffer, deadline_in(hang))) return 1;
      ::kill(::getpid(), SIGKILL);
      return 2;
    }};
    auto sent = Result<void>{};
    while ((sent = ours->send(frame_of(0), {}, deadline_in(hang)))) {}
    EXPECT_EQ(kind_of(sent), "down");
  }
}

/// Senders and receivers are killed at random; each item is put by one sender, with the numbers that were
/// confirmed told to the test through a pipe.
TEST_F(ZmqKill, LosesNothingThatWasPutWhoeverIsKilled) {
  const int rounds = kills_or(12);
  std::mt19937 random{7};
  auto access = QueueServer::create("ipc://*", {.items_max = 64, .attempts_max = 60}).value();
  const auto endpoint = endpoint_of(*access);
  auto queue = Queue<std::uint64_t>::over(std::move(access));
  const auto found = [&] { return Queue<std::uint64_t>::over(connect_queue(endpoint, {}, hang).value()); };
  int reports[2];
  ASSERT_EQ(::pipe(reports), 0);
  const OwnedFd report_out{reports[0]};
  OwnedFd report_in{reports[1]};
  std::map<std::uint64_t, int> handled;
  const auto start_sender = [&](std::uint64_t id) {
    return Forked{[&, id] {
      auto out = found().sender();
      for (std::uint64_t n = id << 32U;; ++n) {
        if (!out.put(n, hang)) return 1;
        if (::write(report_in.get(), &n, sizeof n) != sizeof n) return 2;  // whole, being short
      }
    }};
  };
  const auto start_receiver = [&] {
    return Forked{[&] {
      auto in = found().receiver();
      for (;;) {
        auto item = in.get(hang).value();
        const std::uint64_t done = *item | std::uint64_t{1} << 63U;
        if (::write(report_in.get(), &done, sizeof done) != sizeof done) return 2;
        item.acknowledge();
      }
    }};
  };
  std::uint64_t senders = 0;
  std::vector<Forked> writing;
  std::vector<Forked> reading;
  for (int i = 0; i < 3; ++i) writing.push_back(start_sender(++senders));
  for (int i = 0; i < 3; ++i) reading.push_back(start_receiver());
  const auto hear = [&] {
    std::uint64_t report = 0;
    if (::read(report_out.get(), &report, sizeof report) != sizeof report) return false;
    ++handled[report];
    return true;
  };
  for (int round = 0; round < rounds; ++round) {
    for (auto left = std::uniform_int_distribution<int>{0, 150}(random); left > 0; --left)
      ASSERT_TRUE(hear());
    const auto victim = std::uniform_int_distribution<std::size_t>{0, 2}(random);
    if (round % 2 == 0) {
      writing[victim].kill();
      writing[victim] = start_sender(++senders);
    } else {
      reading[victim].kill();
      reading[victim] = start_receiver();
    }
  }
  for (auto& sender : writing) sender.kill();
  std::thread drained{[&] { EXPECT_TRUE(queue.drain(hang)); }};
  while (queue.size() != 0)
    if (!troupe::detail::wait_readable(report_out.get(), deadline_in(10ms)) || !hear()) continue;
  drained.join();
  for (auto& receiver : reading) receiver.kill();
  report_in.reset();
  while (hear()) {}
  constexpr std::uint64_t done = std::uint64_t{1} << 63U;
  std::uint64_t confirmed = 0;
  std::uint64_t twice = 0;
  for (const auto& [report, times] : handled) {
    if ((report & done) != 0) {
      twice += static_cast<std::uint64_t>(times - 1);
      continue;
    }
    ++confirmed;
    EXPECT_GE(handled[report | done], 1) << "lost: " << report;
  }
  const auto counts = queue.counts();
  EXPECT_EQ(counts.put, counts.acknowledged);
  EXPECT_LE(twice, counts.given_back) << "only what a death gave back comes twice";
  const auto deaths = static_cast<std::uint64_t>(rounds / 2) + 3;
  EXPECT_LE(counts.given_back, deaths * (1 + wire::doubtful_max(QueueOptions{}.ahead_items_max)))
      << "for each death what was in hand, and what was in doubt";
  std::printf("queue: %d kills, %llu confirmed, 0 lost, %llu handled twice\n", rounds,
              static_cast<unsigned long long>(confirmed), static_cast<unsigned long long>(twice));
}

}  // namespace
}  // namespace troupe::zmq
