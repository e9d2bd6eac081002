// SPDX-License-Identifier: MIT
// A sender that is stopped (SIGSTOP), at any instruction and for any time, delays its own lane and nobody
// else's, and goes on as if nothing had been. `TROUPE_LANE_STOPS`: how many stops at random;
// `TROUPE_LANE_STOP_MS`: the longest.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <random>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/lane_cluster.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::pattern;
using test::SteppedChild;

constexpr Duration patience = 20s;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Waits until a child is stopped, or has ended; none at a deadline is left to the child's own alarm.
int wait_for_stop(pid_t pid) {
  int status = 0;
  detail::retried([&] { return ::waitpid(pid, &status, WUNTRACED); });
  return status;
}

/// One reader with two lanes: one from a child that is to be stopped, one from the test.
struct TwoSenders {
  static constexpr std::size_t slots = 2;

  void send_as_child() const {
    auto writer = LaneWriter::create(child_file.get(), child_spec).value();
    writer.attach_reader(test::view_of(reader_file.get(), slots), bell.get());
    test::mark();
    if (!test::send(writer, payload, {.type = 1, .sequence = 1})) ::_exit(1);
    test::mark();
  }
  [[nodiscard]] LaneReader reader_of_child() {
    return LaneReader::create(child_file.get(), child_spec, words.slot(0), -1).value();
  }

  std::vector<std::byte> payload = pattern(1, 1000);
  LaneSpec child_spec{.id = 7, .base = lane::capacity_min - 504};  // over the ring's end
  LaneSpec own_spec{.id = 8, .slot = 1};
  OwnedFd bell = create_bell().value();
  OwnedFd reader_file = test::new_reader_file(slots, child_spec.base);
  ReaderFile words = ReaderFile::create(reader_file.get(), slots).value();
  OwnedFd child_file = test::new_writer_file(child_spec);
  OwnedFd own_file = test::new_writer_file(own_spec);
  LaneWriter own = LaneWriter::create(own_file.get(), own_spec).value();
  LaneReader own_reader = LaneReader::create(own_file.get(), own_spec, words.slot(1), -1).value();
};

class LaneStop : public test::NothingLeft {
 protected:
  enum class Moment { nothing_yet, between, published };

  /// Stops a sender there, looks, and lets it go on.
  static Moment stop_at(const test::Trace& trace, std::size_t at) {
    TwoSenders both;
    auto child = SteppedChild::create([&] { both.send_as_child(); }, deadline_in(patience)).value();
    const auto map = MemoryMap::create(both.child_file.get(),
                                       lane::writer_file_bytes(both.child_spec.capacity), Access::read)
                         .value();
    const std::vector<std::byte> before{map.data(), map.data() + map.size()};
    child.advance(trace, at).value();
    const pid_t pid = child.leave_stopped();
    EXPECT_TRUE(WIFSTOPPED(wait_for_stop(pid)));

    expect_others_pass(both);
    auto reader = both.reader_of_child();
    auto received = test::receive_all(reader);
    const bool touched = std::memcmp(before.data(), map.data(), map.size()) != 0;
    const auto moment = !received.empty() ? Moment::published
                        : touched         ? Moment::between
                                          : Moment::nothing_yet;

    let_go_on(pid);
    for (auto& more : test::receive_all(reader)) received.push_back(std::move(more));
    EXPECT_EQ(received.size(), 1U);
    EXPECT_TRUE(received.size() == 1 && received[0].payload == both.payload) << "stopped at " << at;
    return moment;
  }

 private:
  static void expect_others_pass(TwoSenders& both) {
    both.own.attach_reader(test::view_of(both.reader_file.get(), TwoSenders::slots), both.bell.get());
    both.words.announce_sleep();
    for (std::uint64_t number = 1; number <= 3; ++number)
      EXPECT_TRUE(test::send(both.own, pattern(number, 300), {.type = 1, .sequence = number}));
    EXPECT_TRUE(test::was_rung(both.bell.get()));
    both.words.end_sleep();
    EXPECT_EQ(test::receive_all(both.own_reader).size(), 3U);
  }

  /// It stops once more at its second mark.
  static void let_go_on(pid_t pid) {
    int status = 0;
    do {
      ::kill(pid, SIGCONT);
      status = wait_for_stop(pid);
    } while (WIFSTOPPED(status));
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
};

TEST_F(LaneStop, AtAnyInstructionOfASendDelaysThatLaneAlone) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own instructions would be stepped too";
  TwoSenders{}.send_as_child();
  const TwoSenders recorded;
  const auto trace = test::record([&] { recorded.send_as_child(); }, deadline_in(patience)).value();
  std::size_t between = 0;
  std::size_t published = 0;
  for (std::size_t at = 0; at < trace.size(); ++at) {
    const auto moment = stop_at(trace, at);
    between += moment == Moment::between ? 1 : 0;
    published += moment == Moment::published ? 1 : 0;
  }
  std::printf("stopped at %zu points: %zu between write and commit, %zu after\n", trace.size(), between,
              published);
  EXPECT_GT(between, 0U);
  EXPECT_GT(published, 0U);
}

class LaneStops : public test::NothingLeft {
 protected:
  void stop(std::size_t node) const {
    const pid_t pid = cluster_.pid(node);
    ::kill(pid, SIGSTOP);
    siginfo_t info{};  // the stop, and not yet its report, which is left for nobody to mind
    detail::retried([&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT); });
  }
  void go_on(std::size_t node) const { ::kill(cluster_.pid(node), SIGCONT); }

  [[nodiscard]] std::vector<std::uint64_t> last() const {
    std::vector<std::uint64_t> numbers;
    for (const auto& row : cluster_.seen()) numbers.push_back(row.last);
    return numbers;
  }

  /// While a sender is stopped, each of the others gets something through. False at the deadline.
  [[nodiscard]] bool others_get_through(std::size_t stopped_edge) {
    const auto before = last();
    for (const TimePoint end = deadline_in(patience); Clock::now() < end;
         cluster_.serve(deadline_in(200us))) {
      const auto now = last();
      bool all = true;
      for (std::size_t edge = 0; edge < now.size(); ++edge)
        all = all && (edge == stopped_edge || now[edge] > before[edge]);
      if (all) return true;
    }
    return false;
  }

  static constexpr std::size_t senders = 8;
  const std::uint64_t stops_ = number_from("TROUPE_LANE_STOPS", 200);
  const std::uint64_t longest_ms_ = number_from("TROUPE_LANE_STOP_MS", 8);
  test::LaneCluster cluster_{test::Topology::fan_in(senders),
                             deadline_in(60s + stops_ * std::chrono::milliseconds{longest_ms_ + 20})};
};

TEST_F(LaneStops, AtRandomDelayOnlyTheirOwnLaneAndCorruptNothing) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random{seed};
  cluster_.serve(deadline_in(1ms));
  for (std::uint64_t i = 0; i < stops_ && !cluster_.late(); ++i) {
    const std::size_t node = random() % cluster_.size();
    // As many short ones as long ones.
    const auto scale = std::uint64_t{1} << random() % 12;
    const auto time = std::chrono::milliseconds{1 + std::min<std::uint64_t>(random() % scale, longest_ms_)};
    stop(node);
    const auto until = deadline_in(time);
    if (node == 0) {
      const auto before = last();
      cluster_.serve(until);
      EXPECT_EQ(last(), before) << "the receiver is stopped";
    } else {
      EXPECT_TRUE(others_get_through(node - 1)) << "a stopped sender holds up another";
      cluster_.serve(until);
    }
    go_on(node);
  }
  const bool finished = cluster_.finish();
  const test::WitnessSum sum{cluster_.seen()};
  sum.print("stopped", stops_);
  EXPECT_TRUE(finished);
  sum.expect_sound(0);
}

}  // namespace
}  // namespace troupe
