// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <csignal>
#include <troupe/runtime/restart_policy.hpp>

namespace troupe::supervision {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1h};
constexpr Backoff plain{.first = 50ms, .max = 5s, .jitter = 0.0};

TEST(RestartPolicy, OnlyPermanentRunsAgainAfterANormalEndAndTemporaryNever) {
  for (const auto cause : {ExitCause::normal, ExitCause::shutdown}) {
    EXPECT_TRUE(restarts_on(Restart::permanent, cause));
    EXPECT_FALSE(restarts_on(Restart::transient, cause));
    EXPECT_FALSE(restarts_on(Restart::temporary, cause));
  }
  for (const auto cause : {ExitCause::failed, ExitCause::signaled, ExitCause::hung, ExitCause::init_failed}) {
    EXPECT_TRUE(restarts_on(Restart::permanent, cause));
    EXPECT_TRUE(restarts_on(Restart::transient, cause));
    EXPECT_FALSE(restarts_on(Restart::temporary, cause));
  }
}

TEST(RestartWindow, CountsAnEntryAsOldAsTheWindowAndDropsOneThatIsOlder) {
  const ChildPolicy policy{.restarts_max = 1, .window = 10s};
  std::deque<TimePoint> restarts;
  EXPECT_TRUE(restart_allowed(restarts, policy, start));
  EXPECT_FALSE(restart_allowed(restarts, policy, start + 10s));
  restarts.assign({start});
  EXPECT_TRUE(restart_allowed(restarts, policy, start + 10s + 1ns));
  EXPECT_EQ(restarts.size(), 1U);
}

TEST(RestartWindow, ZeroRestartsMeansThatTheFirstIsOneTooMany) {
  std::deque<TimePoint> restarts;
  EXPECT_FALSE(restart_allowed(restarts, {.restarts_max = 0}, start));
}

TEST(RestartWindow, WithoutALimitNothingIsRemembered) {
  std::deque<TimePoint> restarts;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(restart_allowed(restarts, {.restarts_max = unlimited}, start));
  EXPECT_TRUE(restarts.empty());
}

TEST(RestartWindow, ANonsensicalWindowCountsOnlyWhatIsNow) {
  std::deque<TimePoint> restarts;
  EXPECT_TRUE(restart_allowed(restarts, {.restarts_max = 1, .window = -1s}, start));
  EXPECT_FALSE(restart_allowed(restarts, {.restarts_max = 1, .window = -1s}, start));
  EXPECT_TRUE(restart_allowed(restarts, {.restarts_max = 1, .window = -1s}, start + 1ns));
}

TEST(RestartWindow, TheReasonOfAChildGivenUpNamesItsLastEnd) {
  const ExitReason last{ExitCause::signaled, Signaled{SIGSEGV, false}, "touched the void"};
  const ExitReason reason = given_up(last, 7, 10s);
  EXPECT_EQ(reason.cause, ExitCause::restart_limit);
  EXPECT_EQ(reason.status, last.status);
  EXPECT_EQ(reason.detail, "7 ends within 10 s, the last: SIGSEGV: touched the void");
  EXPECT_LE(given_up({ExitCause::failed, Exited{1}, std::string(200, 'x')}, 7, 10s).detail.size(),
            detail_bytes_max);
}

TEST(Backoff, IsNoneAfterAnIncarnationThatDidWork) { EXPECT_EQ(backoff_pause(plain, 0, 0.0), 0ns); }

TEST(Backoff, DoublesUpToItsCap) {
  EXPECT_EQ(backoff_pause(plain, 1, 0.0), 50ms);
  EXPECT_EQ(backoff_pause(plain, 2, 0.0), 100ms);
  EXPECT_EQ(backoff_pause(plain, 7, 0.0), 3200ms);
  EXPECT_EQ(backoff_pause(plain, 8, 0.0), 5s);
  EXPECT_EQ(backoff_pause(plain, unlimited, 0.0), 5s);
}

TEST(Backoff, JitterSpreadsItByItsShareToBothSides) {
  const Backoff backoff{.first = 100ms, .max = 5s, .jitter = 0.25};
  EXPECT_EQ(backoff_pause(backoff, 1, -1.0), 75ms);
  EXPECT_EQ(backoff_pause(backoff, 1, 0.5), 112500us);
  std::uint64_t state = 1;
  for (int i = 0; i < 10'000; ++i) {
    const Duration pause = backoff_pause(backoff, 1, random_unit(state));
    ASSERT_GE(pause, 75ms);
    ASSERT_LT(pause, 125ms);
  }
}

TEST(Backoff, IsNeverNegativeAndNeverOverflows) {
  EXPECT_EQ(backoff_pause({.first = 0ns}, 9, 0.5), 0ns);
  EXPECT_EQ(backoff_pause({.first = -1s}, 9, 0.5), 0ns);
  EXPECT_EQ(backoff_pause({.first = 1s, .max = -1s}, 9, 0.5), 0ns);
  EXPECT_EQ(backoff_pause({.first = 1s, .max = Duration::max(), .jitter = 0.9}, 99, 0.9), Duration::max());
}

TEST(Jitter, FillsItsRangeAndRepeatsItselfFromTheSameSeed) {
  std::uint64_t one = 7;
  std::uint64_t other = 7;
  double least = 1.0;
  double most = -1.0;
  for (int i = 0; i < 10'000; ++i) {
    const double unit = random_unit(one);
    ASSERT_EQ(unit, random_unit(other));
    ASSERT_GE(unit, -1.0);
    ASSERT_LT(unit, 1.0);
    least = std::min(least, unit);
    most = std::max(most, unit);
  }
  EXPECT_LT(least, -0.99);
  EXPECT_GT(most, 0.99);
}

TEST(Durations, AreWrittenInTheirLargestWholeUnit) {
  EXPECT_EQ(to_text(30s), "30 s");
  EXPECT_EQ(to_text(1500ms), "1500 ms");
  EXPECT_EQ(to_text(7us), "7000 ns");
}

}  // namespace
}  // namespace troupe::supervision
