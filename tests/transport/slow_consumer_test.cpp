// SPDX-License-Identifier: MIT
// A consumer that is stopped costs its senders room, never memory; and whatever is not queued is counted.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/queue.hpp>

#include "transport/attached_queue.hpp"
#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Forked;

constexpr auto patience = 20s;
constexpr std::uint64_t puts = 50'000;  ///< 50 MB
constexpr std::size_t item_bytes = 1000;
constexpr long growth_max = 1L << 20U;

long resident_bytes() {
  std::ifstream file{"/proc/self/statm"};
  long all = 0;
  long resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

class SlowConsumer : public test::NothingLeft {
 protected:
  static void wait_until_stopped(const Forked& child) {
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WEXITED | WNOWAIT), 0);
    ASSERT_EQ(info.si_code, CLD_STOPPED);
  }
  /// What `send` does to this process's memory, once it has done it often enough to have touched all of it.
  template <class Send>
  static void expect_no_growth(Send send) {
    for (std::uint64_t i = 0; i < puts / 10; ++i) send();
    const long before = resident_bytes();
    for (std::uint64_t i = puts / 10; i < puts; ++i) send();
    if (test::can_step()) {  // a sanitizer keeps what was freed
      EXPECT_LT(resident_bytes() - before, growth_max);
    }
  }
};

class SlowReceiver : public SlowConsumer, public ::testing::WithParamInterface<Overflow> {};

TEST_P(SlowReceiver, CostsAQueuesSenderNoMemoryAndEveryItemIsCounted) {
  constexpr std::uint64_t items_max = 64;
  Queue<Bytes> queue{{.items_max = items_max, .overflow = GetParam()}};
  auto out = queue.sender();
  const auto descriptors = queue.descriptors().value();
  const Forked consumer{[&] {
    auto in = test::attached<Bytes>(descriptors).receiver();
    const auto item = in.get(patience);
    ::raise(SIGSTOP);
    return item ? 0 : 1;
  }};
  const Bytes item(item_bytes);
  out.put(item).value();
  wait_until_stopped(consumer);
  expect_no_growth([&] { static_cast<void>(out.put(item, 0ns)); });
  const QueueCounts counts = queue.counts();
  EXPECT_EQ(counts.put + counts.dropped_new + counts.refused_full, puts + 1);
  EXPECT_EQ(counts.put - counts.dropped_old - counts.replaced, queue.size());
  EXPECT_LE(queue.size(), items_max);
  EXPECT_GE(queue.size(), GetParam() == Overflow::latest ? 2U : items_max) << "with the one that is in hand";
}

INSTANTIATE_TEST_SUITE_P(Policies, SlowReceiver,
                         testing::Values(Overflow::block, Overflow::fail, Overflow::drop_new,
                                         Overflow::drop_old, Overflow::latest),
                         [](const auto& one) {
                           switch (one.param) {
                             case Overflow::block: return "block";
                             case Overflow::fail: return "fail";
                             case Overflow::drop_new: return "drop_new";
                             case Overflow::drop_old: return "drop_old";
                             case Overflow::latest: return "latest";
                           }
                           std::abort();
                         });

class SlowPeer : public SlowConsumer, public ::testing::WithParamInterface<Carrier> {};

TEST_P(SlowPeer, CostsAChannelsSenderNoMemoryAndWhatWasNotSentIsSaid) {
  auto ends = create_channel({.carrier = GetParam()}).value();
  Channel& near = *ends.first;
  const Forked consumer{[parts = std::make_shared<ChannelParts>(ends.second->take_parts().value())] {
    const auto end = channel_from(std::move(*parts)).value();
    std::vector<std::byte> buffer;
    const bool received = end->receive(buffer, deadline_in(patience)).has_value();
    ::raise(SIGSTOP);
    return received ? 0 : 1;
  }};
  ends.second.reset();
  const std::vector<std::byte> frame(item_bytes);
  near.send(frame, {}, deadline_in(patience)).value();
  wait_until_stopped(consumer);
  std::uint64_t sent = 0;
  std::uint64_t timed_out = 0;
  expect_no_growth([&] {
    const auto done = near.send(frame, {}, deadline_in(0ns));
    if (done)
      ++sent;
    else if (done.error().kind == ErrorKind::timed_out)
      ++timed_out;
  });
  EXPECT_EQ(sent + timed_out, puts);
  EXPECT_GT(timed_out, puts / 2);
}

INSTANTIATE_TEST_SUITE_P(Carriers, SlowPeer,
                         testing::Values(Carrier::shared_memory, Carrier::pipe, Carrier::stream,
                                         Carrier::packet),
                         [](const auto& one) {
                           switch (one.param) {
                             case Carrier::shared_memory: return "lane";
                             case Carrier::pipe: return "pipe";
                             case Carrier::stream: return "stream";
                             case Carrier::packet: return "packet";
                             case Carrier::zeromq: break;  // zmq/ has its own
                           }
                           std::abort();
                         });

}  // namespace
}  // namespace troupe
