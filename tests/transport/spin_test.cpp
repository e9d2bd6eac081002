// SPDX-License-Identifier: MIT
#include <troupe/transport/spin.hpp>

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "transport/forked.hpp"

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 20s;

/// Of this process: one core, or two if there are so many. False if they are not to be had.
bool run_on(std::size_t cores) {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (::sched_getaffinity(0, sizeof all, &all) != 0) return false;
  cpu_set_t some;
  CPU_ZERO(&some);
  std::size_t taken = 0;
  for (std::size_t core = 0; core < CPU_SETSIZE && taken < cores; ++core) {
    if (!CPU_ISSET(core, &all)) continue;
    CPU_SET(core, &some);
    ++taken;
  }
  return taken == cores && ::sched_setaffinity(0, sizeof some, &some) == 0;
}

constexpr int skipped = 77;

// Each in a process of its own: how many cores there are is asked once.
TEST(Spin, IsTrueAsSoonAsSomethingIs) {
  test::Forked child{[] {
    if (!run_on(2)) return skipped;
    Spin spin;
    int looks = 0;
    return spin.until([&] { return ++looks == 3; }) && looks == 3 ? 0 : 1;
  }};
  const int code = child.exit_code(deadline_in(patience));
  if (code == skipped) GTEST_SKIP() << "there is one core only";
  EXPECT_EQ(code, 0);
}

TEST(Spin, LooksAgainAndAgainAndEndsByItself) {
  test::Forked child{[] {
    if (!run_on(2)) return skipped;
    Spin spin;
    int looks = 0;
    return !spin.until([&] { return ++looks < 0; }) && looks >= 200 ? 0 : 1;
  }};
  const int code = child.exit_code(deadline_in(patience));
  if (code == skipped) GTEST_SKIP() << "there is one core only";
  EXPECT_EQ(code, 0);
}

TEST(Spin, DoesNotSpinOnOneCore) {
  test::Forked child{[] {
    if (!run_on(1)) return skipped;
    Spin spin;
    int looks = 0;
    return !spin.until([&] { return ++looks > 0; }) && looks == 0 ? 0 : 1;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
}

TEST(Spin, LeavesTheClockAloneForAWhileAfterItHasCostSomebodyTheCore) {
  test::Forked child{[] {
    if (!run_on(2)) return skipped;
    std::atomic<bool> done{false};
    std::thread rival{[&] {  // on both cores in turn, so that a spin is interrupted sooner or later
      while (!done) {}
    }};
    std::thread second{[&] {
      while (!done) {}
    }};
    Spin spin;
    bool gave_up = false;
    for (const TimePoint end = deadline_in(patience); !gave_up && Clock::now() < end;) {
      int looks = 0;
      const bool found = spin.until([&] { return ++looks < 0; });
      gave_up = !found && looks == 200;
    }
    done = true;
    rival.join();
    second.join();
    return gave_up ? 0 : 1;
  }};
  const int code = child.exit_code(deadline_in(2 * patience));
  if (code == skipped) GTEST_SKIP() << "there is one core only";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace troupe::detail
