// SPDX-License-Identifier: MIT
// Every system call that a process makes while it uses ZeroMQ fails once, in each way that fits it, on
// whatever thread it is made; see tests/support/transport/answered_child.hpp. libzmq ends a process for some
// of them (docs/zmq.md), so its peer in another process is looked at as well.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/channel.hpp>
#include <vector>

#include "failing_pairs.hpp"
#include "places_folder.hpp"
#include "transport/answered_child.hpp"
#include "transport/fault_case.hpp"
#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"
#include "transport/stepper.hpp"

namespace troupe::zmq {
namespace {

using test::AnsweredChild;
using test::CountedCalls;
using test::Forked;
using test::Outcome;

/// Of all runs of a case, which several processes make side by side: in shared memory.
constexpr auto enough_room = std::numeric_limits<std::size_t>::max();

struct Tally {
  std::atomic<std::size_t> next{0};       ///< fault, to be tried
  std::atomic<std::size_t> runs{0};       ///< with a fault in each
  std::atomic<std::size_t> absorbed{0};   ///< of these: right all the same
  std::atomic<std::size_t> reported{0};   ///< said so
  std::atomic<std::size_t> timed_out{0};  ///< of these: by the deadline alone
  std::atomic<std::size_t> ended{0};      ///< by libzmq
  std::atomic<std::size_t> unreached{0};  ///< a run has not always the same number of calls
  std::atomic<std::size_t> wrong{0};
  std::array<std::array<char, 300>, 20> lines{};  ///< the first of these

  void note(const std::string& what) {
    const auto at = wrong++;
    if (at < lines.size()) what.copy(lines[at].data(), lines[at].size() - 1);
  }
  void print(const char* what, std::size_t calls) const {
    std::printf(
        "calls of %-18s %4zu: %4zu faults, %4zu absorbed, %4zu reported (%zu timed_out), %4zu ended by "
        "libzmq, %zu wrong; %zu not reached\n",
        what, calls, runs.load(), absorbed.load(), reported.load(), timed_out.load(), ended.load(),
        wrong.load(), unreached.load());
    std::fflush(stdout);
  }
};

template <class Body>
Outcome outcome(Body body) {
  const auto one = test::simple_case("", [&]() -> Result<void> {
                     body();
                     return {};
                   }).make();
  return test::outcome_of(*one);
}

void note_left(Known& known, const char* who, const test::Holdings& before) {
  const auto lines = test::left_over(before, test::Holdings::now());
  if (lines.empty() || known.left[0] != '\0') return;
  std::snprintf(known.left.data(), known.left.size(), "%s left %s", who, lines.front().c_str());
}

/// From here on this process may have so much address space more than it has.
void leave_room_for(std::size_t bytes) {
  std::size_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages;
  const rlim_t most = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + bytes;
  const rlimit limit{most, most};
  ::setrlimit(RLIMIT_AS, &limit);
}

int be_child(Pair& pair, CountedCalls& calls, std::size_t room) {
  if (!pair.makes_the_place()) pair.found.wait();
  const auto before = test::Holdings::now();
  if (room != enough_room) leave_room_for(room);
  calls.begin();
  pair.known().child = outcome([&] { pair.work(calls); });
  calls.end();
  note_left(pair.known(), "the child", before);
  return 0;
}

int be_peer(Pair& pair) {
  const auto before = test::Holdings::now();
  pair.known().peer = outcome([&] { pair.live_on(); });
  note_left(pair.known(), "the peer", before);
  return 0;
}

/// Whether that is how libzmq ends a process, or the C++ library for want of memory; of two threads at once
/// it tells no reason.
bool ended_by_libzmq(const AnsweredChild::End& end) {
  if (!end.status || !WIFSIGNALED(*end.status) || WTERMSIG(*end.status) != SIGABRT) return false;
  return end.last_words.find("src/") < end.last_words.find(".cpp:") ||
         end.last_words.find("std::bad_alloc") != std::string::npos ||
         end.last_words.find("terminate called recursively") != std::string::npos;
}

std::string fault_in_child(const AnsweredChild::End& end, const Outcome& child) {
  if (!end.status) return "it hung";
  if (ended_by_libzmq(end)) return {};
  if (WIFSIGNALED(*end.status))
    return std::string{::strsignal(WTERMSIG(*end.status))} + ": \"" + end.last_words + '"';
  const bool right = child.kind == Outcome::Kind::ok || child.kind == Outcome::Kind::error ||
                     child.kind == Outcome::Kind::no_heap;
  return WEXITSTATUS(*end.status) == 0 && right ? "" : child.to_string();
}

std::string fault_in_peer(Pair& pair, Forked& peer) {
  std::optional<Forked> instead;
  if (!pair.known().joined)
    instead.emplace([&] { return outcome([&] { pair.come_instead(); }).kind == Outcome::Kind::ok ? 0 : 1; });
  if (!peer.wait(deadline_in(hang))) return "its peer hung";
  if (pair.known().peer.kind == Outcome::Kind::ok) return {};
  return "its peer: " + pair.known().peer.to_string();
}

struct Ran {
  AnsweredChild::End end{};
  Outcome child{};
  std::string wrong{};
};

Ran run_with(Pair& pair, const AnsweredChild::Fault& fault, std::size_t room) {
  auto child = AnsweredChild::create([&](CountedCalls& calls) { return be_child(pair, calls, room); },
                                     deadline_in(hang))
                   .value();
  Forked peer{[&] { return be_peer(pair); }};
  Ran done{.end = child.run(fault, deadline_in(hang))};
  pair.found.open();
  pair.child_ended.open();
  done.child = pair.known().child;
  done.wrong = fault_in_child(done.end, done.child);
  if (const auto also = fault_in_peer(pair, peer); done.wrong.empty()) done.wrong = also;
  if (done.wrong.empty()) done.wrong = pair.known().left.data();
  return done;
}

void add(Tally& tally, const Ran& done, const AnsweredChild::Fault& fault) {
  const auto call =
      done.end.failed ? " (number " + std::to_string(*done.end.failed) + "), " : " (not reached), ";
  if (!done.wrong.empty())
    tally.note("call " + std::to_string(fault.at) + call + ::strerrorname_np(fault.errnum) + ": " +
               done.wrong);
  if (!done.end.failed) {
    ++tally.unreached;
    return;
  }
  ++tally.runs;
  if (!done.end.status || WIFSIGNALED(*done.end.status)) {
    ++tally.ended;
    return;
  }
  ++(done.child.kind == Outcome::Kind::ok ? tally.absorbed : tally.reported);
  if (done.child.kind == Outcome::Kind::error && done.child.error == ErrorKind::timed_out) ++tally.timed_out;
}

// --- all runs

struct NamedPair {
  const char* name;
  std::unique_ptr<Pair> (*make)();
};
template <class P>
NamedPair pair_of(const char* name) {
  return {name, []() -> std::unique_ptr<Pair> { return std::make_unique<P>(); }};
}
std::ostream& operator<<(std::ostream& out, const NamedPair& one) { return out << one.name; }

/// With each errno at every so many of the calls that it fits.
std::vector<AnsweredChild::Fault> faults_for(const std::vector<long>& calls) {
  constexpr std::size_t faults_wanted = 8;  // of each errno
  std::vector<AnsweredChild::Fault> faults;
  for (const int errnum : {EINTR, EAGAIN, EMFILE, ENFILE, ENOMEM, ENOBUFS, EIO}) {
    const auto fits = static_cast<std::size_t>(std::count_if(
        calls.begin(), calls.end(), [&](long number) { return test::can_fail_with(number, errnum); }));
    const auto stride = test::step_stride(std::max<std::size_t>(1, fits / faults_wanted));
    for (std::size_t at = 1; at <= fits; at += stride) faults.push_back({errnum, at});
  }
  return faults;
}

/// What is left in the folder where places are made, once the dead have been swept.
std::size_t left_in(const std::filesystem::path& folder) {
  Forked next{[] { return AtLeastOnceChannel::listen("ipc://*") ? 0 : 1; }};
  EXPECT_EQ(next.exit_code(deadline_in(hang)), 0);
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{folder}, {}));
}

class ZmqFailingCalls : public test::NothingLeft, public ::testing::WithParamInterface<NamedPair> {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own calls would fail too";
    auto child = AnsweredChild::create([](CountedCalls&) { return 0; }, deadline_in(hang));
    if (!child) GTEST_SKIP() << "the kernel does not let a test answer system calls: " << child.error().text;
    EXPECT_EQ(child->run({}, deadline_in(hang)).status, 0);
  }

  static Ran run_once(const AnsweredChild::Fault& fault, std::size_t room = enough_room) {
    const auto pair = GetParam().make();
    return run_with(*pair, fault, room);
  }
  /// Side by side, since most of a run is waiting.
  static void try_all(const std::vector<AnsweredChild::Fault>& faults, Tally& tally) {
    constexpr std::size_t runners_wanted = 8;
    std::vector<Forked> runners;
    for (std::size_t i = 0; i < runners_wanted; ++i)
      runners.emplace_back([&] {
        for (std::size_t at = tally.next++; at < faults.size(); at = tally.next++)
          add(tally, run_once(faults[at]), faults[at]);
        return 0;
      });
    for (auto& runner : runners) EXPECT_EQ(runner.exit_code(never), 0);  // each of its waits has a deadline
  }
  test::PlacesFolder places_{};
};

TEST_P(ZmqFailingCalls, AreAbsorbedOrReportedOrEndTheProcessAndNeverHarmItsPeer) {
  const auto clean = run_once({});
  EXPECT_EQ(clean.child.kind, Outcome::Kind::ok) << "without a fault: " << clean.child.to_string();
  EXPECT_EQ(clean.wrong, "") << "without a fault";
  const test::SharedValue<Tally> tally;
  const auto faults = faults_for(clean.end.calls);
  try_all(faults, *tally);
  tally->print(GetParam().name, clean.end.calls.size());
  EXPECT_EQ(tally->runs + tally->unreached, faults.size());
  EXPECT_GT(tally->runs, faults.size() / 2);
  EXPECT_EQ(tally->wrong, 0U);
  for (const auto& line : tally->lines)
    if (line[0] != '\0') ADD_FAILURE() << line.data();
  EXPECT_EQ(left_in(places_.path()), 0U) << "folders of ipc:// places";
}

/// Down to nothing, from more than three threads' stacks and heaps take.
TEST_P(ZmqFailingCalls, AndWantOfAddressSpaceAreReportedOrEndTheProcessAndNeverHarmItsPeer) {
  std::size_t fine = 0;
  std::size_t reported = 0;
  std::size_t ended = 0;
  for (std::size_t room = std::size_t{1} << 30U; room >= 4096; room -= room / 4) {
    const auto done = run_once({}, room);
    EXPECT_EQ(done.wrong, "") << room << " bytes of room";
    const bool died = !done.end.status || WIFSIGNALED(*done.end.status);
    ++(died ? ended : done.child.kind == Outcome::Kind::ok ? fine : reported);
  }
  std::cout << GetParam().name << ": " << fine << " fine, " << reported << " reported, " << ended
            << " ended by libzmq\n";
  EXPECT_GT(fine, 0U) << "the sweep begins too low to show anything";
  EXPECT_GT(reported + ended, 0U) << "it never ran short";
  EXPECT_EQ(left_in(places_.path()), 0U) << "folders of ipc:// places";
}

INSTANTIATE_TEST_SUITE_P(
    Zmq, ZmqFailingCalls,
    ::testing::Values(pair_of<ChannelPair<Delivery::at_most_once>>("AtMostOnceChannel"),
                      pair_of<ChannelPair<Delivery::at_least_once>>("AtLeastOnceChannel"),
                      pair_of<ReceiverPair>("QueueReceiver"), pair_of<SenderPair>("QueueSender"),
                      pair_of<OwnerPair>("QueueOwner")),
    [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace troupe::zmq
