// SPDX-License-Identifier: MIT
#pragma once
// Deadlines, waiting without working, signals, select.

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <thread>
#include <troupe/transport/select.hpp>

#include "transport/channel_cases/fixture.hpp"

namespace troupe::test {

/// How often threads of this process have gone to sleep since it began.
inline long sleeps() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return used.ru_nvcsw;
}

/// A timer signal every millisecond, whose handler does nothing and restarts nothing.
inline bool storm_of_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  const itimerval every{{0, 1000}, {0, 1000}};
  return ::sigaction(SIGALRM, &action, nullptr) == 0 && ::setitimer(ITIMER_REAL, &every, nullptr) == 0;
}

TEST_P(ChannelConformance, TimesOutNotBeforeTheDeadline) {
  auto& other = far_here();
  for (const Duration within : {Duration{0}, Duration{1}, Duration{300us}, Duration{20ms}}) {
    const auto deadline = deadline_in(within);
    EXPECT_EQ(kind_of(receive(other, deadline)), "timed_out");
    EXPECT_GE(Clock::now(), deadline);
  }
  static_cast<void>(fill(*near, 1000));
  for (const Duration within : {Duration{0}, Duration{300us}, Duration{20ms}}) {
    const auto deadline = deadline_in(within);
    EXPECT_EQ(kind_of(near->send(numbered(1, 1000), {}, deadline)), "timed_out");
    EXPECT_GE(Clock::now(), deadline);
  }
}

TEST_P(ChannelConformance, TakesADeadlineThatHasPassedForNowOrNotAtAll) {
  auto& other = far_here();
  ASSERT_TRUE(near->send(numbered(1, 100), {}, Clock::now() - 1s));
  EXPECT_TRUE(is_numbered(receive(other, soon()).value(), 1, 100));
  ASSERT_TRUE(near->send(numbered(2, 100), {}, TimePoint{}));
  EXPECT_TRUE(select({other.readable()}, 20s));
  EXPECT_TRUE(is_numbered(receive(other, Clock::now() - 1s).value(), 2, 100));
  EXPECT_EQ(kind_of(receive(other, Clock::now() - 1s)), "timed_out");
}

TEST_P(ChannelConformance, SleepsOnceWhileItWaits) {
  auto& other = far_here();
  ASSERT_TRUE(near->send({}, {}, soon()));
  ASSERT_TRUE(receive(other));
  // Until it stays full: that the frame before was taken may yet have to get about.
  static_cast<void>(fill(*near, 1000, deadline_in(50ms)));
  constexpr Duration wait = 300ms;
  // One for the wait, and a few for the locks of carriers that have threads of their own.
  constexpr long sleeps_max = 5;
  const auto idle = [&](const char* what, const std::function<std::string()>& waiting) {
    const auto before = sleeps();
    EXPECT_EQ(waiting(), "timed_out") << what;
    EXPECT_LE(sleeps() - before, sleeps_max) << what << ": it looked again and again";
  };
  idle("receive", [&] { return kind_of(receive(*near, deadline_in(wait))); });
  idle("send", [&] { return kind_of(near->send(numbered(1, 1000), {}, deadline_in(wait))); });
  idle("select", [&] { return kind_of(select({near->readable()}, wait)); });
}

TEST_P(ChannelConformance, KeepsItsDeadlinesInAStormOfSignals) {
  Forked child{[&] {
    auto& other = far_here();
    if (!storm_of_signals()) return 1;
    const auto deadline = deadline_in(50ms);
    if (kind_of(receive(other, deadline)) != "timed_out" || Clock::now() < deadline) return 2;
    const auto sent = fill(other, 1000, deadline_in(20ms));
    const auto send_deadline = deadline_in(50ms);
    if (kind_of(other.send(numbered(1, 1000), {}, send_deadline)) != "timed_out") return 3;
    if (Clock::now() < send_deadline) return 4;
    return sent > 0 ? 0 : 5;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
}

TEST_P(ChannelConformance, CarriesFramesInAStormOfSignals) {
  constexpr std::uint64_t frames = 1000;
  auto child = far_in_child([](Channel& end) {
    if (!storm_of_signals()) return 1;
    std::vector<std::byte> buffer;
    for (std::uint64_t n = 0; n < frames; ++n) {
      const auto frame = end.receive(buffer, soon());
      if (!frame || !is_numbered(frame->bytes, n, n * 97 % 30'000)) return 2;
    }
    for (std::uint64_t n = 0; n < frames; ++n)
      if (!end.send(numbered(n, n * 89 % 30'000), {}, soon())) return 3;
    return 0;
  });
  for (std::uint64_t n = 0; n < frames; ++n)
    ASSERT_TRUE(near->send(numbered(n, n * 97 % 30'000), {}, soon()));
  for (std::uint64_t n = 0; n < frames; ++n) {
    const auto frame = receive(*near);
    ASSERT_TRUE(frame && is_numbered(*frame, n, n * 89 % 30'000)) << "frame " << n;
  }
  EXPECT_EQ(child.exit_code(soon()), 0);
}

TEST_P(ChannelConformance, IsReadableExactlyWhenReceiveWouldNotWait) {
  auto& other = far_here();
  const auto ready = [&] { return kind_of(select({other.readable()}, 0ns)) == "done"; };
  // What was sent is seen at the latest soon, not at once where a thread of the channel's own carries it.
  const auto becomes_ready = [&] { return kind_of(select({other.readable()}, 20s)) == "done"; };
  EXPECT_FALSE(ready());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(near->send(numbered(1, 10), {}, soon()));
    ASSERT_TRUE(near->send({}, {}, soon()));
    EXPECT_TRUE(becomes_ready());
    EXPECT_TRUE(ready()) << "and stays so";
    ASSERT_TRUE(receive(other));
    EXPECT_TRUE(becomes_ready()) << "the second one is still there";
    ASSERT_TRUE(receive(other));
    EXPECT_FALSE(ready());
  }
  near->close();
  EXPECT_TRUE(becomes_ready()) << "receive says closed";
  EXPECT_EQ(kind_of(receive(other, Clock::now())), "closed");
}

TEST_P(ChannelConformance, WakesASelect) {
  const Gate go;
  auto child = far_in_child([&](Channel& end) {
    for (std::uint64_t n = 0; n < 100; ++n) {
      if (!end.send(numbered(n, n), {}, soon())) return 1;
      if (!select({end.readable()}, 20s)) return 2;
      std::vector<std::byte> buffer;
      if (!end.receive(buffer, Clock::now())) return 3;
    }
    return go.wait() ? wait_to_be_killed() : 4;
  });
  for (std::uint64_t n = 0; n < 100; ++n) {
    ASSERT_TRUE(select({near->readable()}, 20s));
    const auto frame = receive(*near, Clock::now());
    ASSERT_TRUE(frame) << "select said that there is one: " << frame.error();
    ASSERT_TRUE(near->send(*frame, {}, soon()));
  }
  std::thread killer{[&] { ::kill(child.pid(), SIGKILL); }};
  EXPECT_TRUE(select({near->readable()}, 20s));
  EXPECT_EQ(kind_of(receive(*near, Clock::now())), "down");
  killer.join();
}

}  // namespace troupe::test
