// SPDX-License-Identifier: MIT
// No lost wake-up, on real processors: two threads, each pinned to a core, do at once what a sender and a
// sleeper do. One publishes and looks whether the other sleeps, one says that it sleeps and looks whether
// something was published. That neither sees the other is what must never happen.
//
// `TROUPE_LITMUS_ROUNDS`: how often. What happens without the order in which memory is shown:
// scripts/check-mutants.

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/queue_ends.hpp>
#include <troupe/transport/queue_writer.hpp>

#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using test::was_rung;

std::uint64_t wanted_rounds() {
  const char* const text = std::getenv("TROUPE_LITMUS_ROUNDS");
  const std::uint64_t otherwise = test::can_step() ? 3'000'000 : 300'000;  // a sanitizer is slow
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// The first two that this process may use; -1 for one that is not there.
std::array<int, 2> two_cores() {
  cpu_set_t all;
  CPU_ZERO(&all);
  ::sched_getaffinity(0, sizeof all, &all);
  std::array<int, 2> cores{-1, -1};
  std::size_t found = 0;
  for (int core = 0; core < CPU_SETSIZE && found < cores.size(); ++core)
    if (CPU_ISSET(core, &all)) cores.at(found++) = core;
  return cores;
}

void pin_to(int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one);
}

// ---- what the two sides do --------------------------------------------------------------------------------

/// A frame is published while the reader of the lane goes to sleep.
class LaneMessage {
 public:
  LaneMessage() { after_acting(); }

  void before_acting() const {
    [[maybe_unused]] const auto warm = lane_.words.page().asleep.load(std::memory_order_relaxed);
  }
  void act() { lane_.writer.publish({}, bytes); }
  void after_acting() { [[maybe_unused]] const auto room = lane_.writer.reserve(bytes).value(); }
  [[nodiscard]] bool saw_the_sleeper() const { return was_rung(lane_.reader_bell.get()); }

  void before_sleeping() const { [[maybe_unused]] const bool warm = lane_.reader.pending(); }
  [[nodiscard]] bool sleeps_and_sees() {
    lane_.words.announce_sleep();
    return lane_.reader.pending();
  }
  void after_sleeping() {
    lane_.words.end_sleep();
    while (lane_.reader.pending()) lane_.reader.acknowledge(lane_.reader.peek(buffer_).value());
  }

 private:
  static constexpr std::size_t bytes = 8;
  test::Lane lane_;
  std::vector<std::byte> buffer_;
};

/// A frame is acknowledged while the sender of the full lane goes to sleep.
class LaneRoom {
 public:
  LaneRoom() { test::fill(lane_.writer, bytes); }

  void before_acting() {
    frame_ = lane_.reader.peek(buffer_).value();
    lane_.reader.settle();
  }
  void act() {
    lane_.reader.acknowledge(frame_);
    lane_.reader.settle();
  }
  void after_acting() const {}
  [[nodiscard]] bool saw_the_sleeper() const { return was_rung(lane_.credit_bell.get()); }

  void before_sleeping() const { [[maybe_unused]] const auto warm = lane_.writer.head(); }
  [[nodiscard]] bool sleeps_and_sees() {
    lane_.writer.announce_wait();
    return !lane_.writer.reserve(bytes).value().empty();
  }
  void after_sleeping() {
    lane_.writer.end_wait();
    [[maybe_unused]] const bool full_again = test::send(lane_.writer, payload_, {});
  }

 private:
  static constexpr std::size_t bytes = 1000;  // less than the quarter at which a reader looks by itself
  test::Lane lane_;
  std::vector<std::byte> payload_ = test::pattern(1, bytes);
  std::vector<std::byte> buffer_;
  Frame frame_;
};

/// An item is published while a receiver of the queue goes to sleep.
class QueueItem {
 public:
  QueueItem() { after_acting(); }

  void before_acting() const {
    [[maybe_unused]] const auto warm = file_->page().announced.load(std::memory_order_relaxed);
  }
  void act() {
    writer_.publish(1, bytes);
    bell_.ring_if_asleep(*file_);
  }
  void after_acting() {
    while (writer_.drop_oldest()) {}
    [[maybe_unused]] const auto room = writer_.room(bytes);
  }
  [[nodiscard]] bool saw_the_sleeper() const { return was_rung(file_->items_bell()); }

  void before_sleeping() const { [[maybe_unused]] const bool warm = something_there(); }
  [[nodiscard]] bool sleeps_and_sees() const {
    detail::announce_sleep(*file_);
    return something_there();
  }
  void after_sleeping() const {}

 private:
  static constexpr std::size_t bytes = 8;
  [[nodiscard]] bool something_there() const {
    return detail::any_record(*file_, [](auto, auto, const auto&, const auto&) { return true; });
  }
  std::shared_ptr<detail::QueueFile> file_ =
      detail::QueueFile::create({.items_max = 64, .bytes_max = 4096, .senders_max = 1, .ends_max = 2})
          .value();
  detail::QueueWriter writer_ = detail::QueueWriter::take_sender_lane(file_, {}).value();
  detail::ReceiversBell bell_;
};

// ---- at once ----------------------------------------------------------------------------------------------

/// Where two threads meet. Spins first, since a sleep is longer than what is looked for. Between two meetings
/// nothing waits, so the other always comes.
class Meeting {
 public:
  void meet(std::size_t side) {
    constexpr unsigned looks_max = 20'000;
    std::atomic<std::uint32_t>& mine = sides_.at(side).meetings;
    const std::atomic<std::uint32_t>& other = sides_.at(1 - side).meetings;
    const std::uint32_t now = mine.load(std::memory_order_relaxed) + 1;
    mine.store(now,
               std::memory_order_seq_cst);  // notify_one() looks for sleepers: the very shape of this test
    mine.notify_one();
    for (unsigned looks = 0;; ++looks) {
      const std::uint32_t seen = other.load(std::memory_order_acquire);
      if (seen - now < 2) return;  // it may be one ahead
      if (looks > looks_max) other.wait(seen, std::memory_order_acquire);
    }
  }

 private:
  struct alignas(lane::line_bytes) Side {
    std::atomic<std::uint32_t> meetings{0};
  };
  std::array<Side, 2> sides_;
};

struct Round {
  bool act_seen = false;      ///< by the sleeper
  bool sleeper_seen = false;  ///< by who acts
};

/// Keeps both sides at it at once: who was seen first waits a little longer in the next round.
class Balance {
 public:
  void learn(const Round& round) {
    if (round.act_seen == round.sleeper_seen) return;
    ahead_ = std::clamp(ahead_ + (round.act_seen ? 1 : -1), -steps_max, steps_max);
  }
  void hold_actor() const { linger(ahead_); }
  void hold_sleeper() const { linger(-ahead_); }

 private:
  static constexpr int steps_max = 1000;  // of a nanosecond or two
  static void linger(int steps) {
    for (volatile int step = 0; step < steps;) step = step + 1;
  }
  int ahead_ = 0;  ///< steps by which the actor was
};

struct Counted {
  std::uint64_t neither = 0;  ///< rounds in which neither saw the other
  std::uint64_t both = 0;     ///< in which both did: they were at it at once
};

template <class Shape>
Counted race(std::uint64_t rounds, const std::array<int, 2>& cores) {
  Shape shape;
  Meeting meeting;
  // Of the actor between the third meeting of a round and the first of the next, else of both.
  Balance balance;
  Round round;
  Counted counted;
  std::thread sleeper{[&] {
    pin_to(cores[1]);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      meeting.meet(1);
      shape.before_sleeping();
      meeting.meet(1);
      balance.hold_sleeper();
      round.act_seen = shape.sleeps_and_sees();
      meeting.meet(1);
      shape.after_sleeping();
    }
  }};
  std::thread actor{[&] {
    pin_to(cores[0]);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      meeting.meet(0);
      shape.before_acting();
      meeting.meet(0);
      balance.hold_actor();
      shape.act();
      meeting.meet(0);
      round.sleeper_seen = shape.saw_the_sleeper();
      balance.learn(round);
      counted.neither += !round.act_seen && !round.sleeper_seen ? 1 : 0;
      counted.both += round.act_seen && round.sleeper_seen ? 1 : 0;
      shape.after_acting();
    }
  }};
  sleeper.join();
  actor.join();
  return counted;
}

class LaneLitmus : public test::NothingLeft {
 protected:
  template <class Shape>
  static void expect_that_one_sees_the_other() {
    const auto cores = two_cores();
    if (cores[1] == -1) GTEST_SKIP() << "there is one core only: nothing is done at once";
    const std::uint64_t rounds = wanted_rounds();
    const Counted counted = race<Shape>(rounds, cores);
    std::cout << rounds << " rounds: in " << counted.neither << " neither saw the other, in " << counted.both
              << " both did\n";
    EXPECT_EQ(counted.neither, 0U) << "a sleeper that nobody wakes";
    EXPECT_GT(counted.both, 0U) << "they were never at it at once, so this shows nothing";
  }
};

TEST_F(LaneLitmus, ASenderSeesTheSleeperOrTheReaderTheMessage) {
  expect_that_one_sees_the_other<LaneMessage>();
}

TEST_F(LaneLitmus, AReaderSeesTheWaitingSenderOrTheSenderTheRoom) {
  expect_that_one_sees_the_other<LaneRoom>();
}

TEST_F(LaneLitmus, AQueuesSenderSeesTheSleeperOrTheReceiverTheItem) {
  expect_that_one_sees_the_other<QueueItem>();
}

}  // namespace
}  // namespace troupe
